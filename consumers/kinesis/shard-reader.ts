import type { Clock } from '../../runtime/clock.ts';
import type { RawBatch } from '../ports.ts';
import type { HashFilter } from './hash-range.ts';
import { type NumberedPage, numberPage } from './numbered-page.ts';
import type { Numbering } from './numbering.ts';
import type { Place } from './positions.ts';
import type { ShardPages } from './shard-log.ts';
import type { Shard } from './shards.ts';

export interface ShardReaderParts {
  readonly pages: ShardPages;
  readonly numbering: Numbering;
  /** What is thrown where the log is cut before a place whose number is fixed. */
  readonly cut: () => Error;
  /** Whether there were records at the position: it is behind an anchor. */
  readonly isBehindAnchor: boolean;
  readonly filter: HashFilter | undefined;
  /** What comes before it is left out. */
  readonly position: number;
  /** Reading ahead pauses once one of them is reached. */
  readonly limits: { readonly records: number; readonly bytes: number };
  readonly clock: Clock;
  /** Told with each page how far the reader is behind the log's end, milliseconds. */
  readonly onBehind: (ms: number) => void;
  /** Told with each page how many bytes its records have. */
  readonly onRead: (bytes: number) => void;
}

/** Reads a shard ahead of the one who takes its records. */
export interface ShardReader {
  /** Behind all that was taken. */
  readonly position: number;
  /** The last record that was read and not taken, as far as numbers were counted on from what was taken. */
  readonly ahead: Place | undefined;
  /** All of the shard was taken, and it has ended: these follow it. */
  readonly children: readonly Shard[] | undefined;
  /** Waits until there is something to take, for so long at most. */
  arrival(ms: number): Promise<void>;
  /** @throws what reading the pages threw. */
  take(maxEvents: number): TakenBatch;
  close(): void;
}

export interface TakenBatch {
  readonly batch: RawBatch;
  /** The last Kinesis record before the position behind the batch. */
  readonly last: Place | undefined;
  /** The first record that there is behind the position at which reading began, with its batch, where others were before it. */
  readonly firstLeft: Place | undefined;
  /** Have to be anchors before the batch is given out. */
  readonly beginnings: readonly Place[];
}

export function createShardReader(parts: ShardReaderParts): ShardReader {
  const { pages, numbering, limits } = parts;
  const held: { readonly page: NumberedPage; readonly isBehindGap: boolean; taken: number }[] = [];
  let records = 0;
  let bytes = 0;
  let position = parts.position;
  let firstLeft: Place | undefined;
  let hasBegun = false;
  let isBehind = true;
  let children: readonly Shard[] | undefined;
  let fault: { readonly error: unknown } | undefined;
  let isClosed = false;
  let wakeTaker = () => {};
  let wakeReader = () => {};

  async function readAhead(): Promise<void> {
    while (!isClosed && children === undefined) {
      if (records >= limits.records || bytes >= limits.bytes) {
        await new Promise<void>((resolve) => {
          wakeReader = resolve;
        });
        continue;
      }
      const { records: read, isBehindGap, millisBehind, children: following } = await pages.next();
      if (isClosed) return;
      if (isBehindGap && !numbering.passGap()) throw parts.cut();
      isBehind = millisBehind > 0 && following === undefined;
      const page = numberPage(read, !isBehind, numbering, parts.filter, position, parts.cut);
      if (!hasBegun) begin(page);
      // Nobody may take for hours, and empty pages come all the time.
      if (page.places.length > 0 || following !== undefined || held.length === 0)
        held.push({ page, isBehindGap, taken: 0 });
      records += page.offsets.length;
      bytes += page.bytes;
      parts.onRead(page.bytes);
      children = following;
      parts.onBehind(millisBehind);
      wakeTaker();
    }
  }

  function begin({ places: [first] }: NumberedPage): void {
    if (first === undefined) return;
    hasBegun = true;
    if (parts.isBehindAnchor && first.number > parts.position) firstLeft = first;
  }

  readAhead().catch((error: unknown) => {
    fault = { error };
    wakeTaker();
  });

  /** Moves records of the first pages into the columns, and the position behind them. */
  function fill(columns: Columns, maxEvents: number): Omit<TakenBatch, 'batch'> {
    const beginnings: Place[] = [];
    let last: Place | undefined;
    let left: Place | undefined;
    while (held.length > 0) {
      const one = held[0];
      const { page } = one;
      // What is missing is told before what follows it.
      if (one.isBehindGap && one.taken === 0 && columns.offsets.length > 0) break;
      if (one.taken === 0) {
        beginnings.push(...page.beginnings);
        if (page.places[0] === firstLeft) left = firstLeft;
      }
      const until = Math.min(page.offsets.length, one.taken + maxEvents - columns.offsets.length);
      if (until > one.taken) last = page.places[page.at[until - 1]];
      append(columns, page, one.taken, until);
      one.taken = until;
      if (until < page.offsets.length) {
        position = page.offsets[until - 1] + 1;
        break;
      }
      position = Math.max(position, page.next);
      last = page.places.at(-1) ?? last;
      bytes -= page.bytes;
      held.shift();
      if (columns.offsets.length === maxEvents) break;
    }
    return { last, firstLeft: left, beginnings };
  }

  return {
    get position() {
      return position;
    },
    get ahead() {
      let last: Place | undefined;
      for (const { page, taken } of held) {
        const beginning = taken === 0 ? page.places.indexOf(page.beginnings[0]) : -1;
        if (beginning >= 0) return page.places[beginning - 1] ?? last;
        last = page.places.at(-1) ?? last;
      }
      return last;
    },
    get children() {
      return held.length === 0 ? children : undefined;
    },
    async arrival(ms) {
      // Also at the shard's end: whoever asks again and again until its state is stored must let that happen.
      if (held.length > 0 || fault !== undefined || isClosed) return;
      await new Promise<void>((resolve) => {
        const cancel = parts.clock.after(ms, resolve);
        wakeTaker = () => {
          cancel();
          resolve();
        };
      });
    },
    take(maxEvents) {
      if (held.length === 0 && fault !== undefined) throw fault.error;
      const columns: Columns = { values: [], keys: [], offsets: [], timestamps: [] };
      const taken = fill(columns, maxEvents);
      records -= columns.offsets.length;
      wakeReader();
      const end = held.length === 0 && !isBehind ? position : Number.POSITIVE_INFINITY;
      return { batch: { ...columns, next: position, end }, ...taken };
    },
    close() {
      isClosed = true;
      pages.close();
      wakeReader();
      wakeTaker();
    },
  };
}

interface Columns {
  readonly values: (Buffer | null)[];
  readonly keys: (Buffer | null)[];
  readonly offsets: number[];
  readonly timestamps: number[];
}

function append(to: Columns, { values, keys, offsets, timestamps }: NumberedPage, from: number, until: number): void {
  for (let row = from; row < until; row++) {
    to.values.push(values[row]);
    to.keys.push(keys[row]);
    to.offsets.push(offsets[row]);
    to.timestamps.push(timestamps[row]);
  }
}
