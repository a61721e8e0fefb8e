import type { RawBatch } from '../ports.ts';

/** One record as the client gives it: numbers are text. */
export interface FetchedRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

export interface PrefetchLimits {
  readonly records: number;
  readonly bytes: number;
}

/** What was fetched of one partition and not read yet: the prefetch, and the reader's place in it. */
export interface Prefetch {
  /** The position that `take` goes on from. NaN before the first `reset`. */
  readonly position: number;
  /** The position that the next fetch is expected to begin at: behind all that is held. */
  readonly fetchPosition: number;
  readonly isEmpty: boolean;
  /** Fetching is to pause: a limit is reached. */
  readonly isFull: boolean;
  /** Fetching is to go on: at most half of the limits is held. */
  readonly isLow: boolean;
  /** Drops everything; the next records are to come from the position on. `end` is the log's end if known, else NaN. */
  reset(position: number, end: number): void;
  /**
   * Appends what one fetch gave. `next` is the position behind it, which control records and compaction may move beyond the last
   * record; `end` is the log's end at that time. Records before the expected position are left out.
   */
  push(records: readonly FetchedRecord[], next: number, end: number): void;
  /** The log's end, where it was learnt without records. */
  ends(end: number): void;
  /** The next records, at most `maxEvents`; an empty batch when none are held, which may still move the position. */
  take(maxEvents: number): RawBatch;
  /** An empty batch that leaves all as it is. */
  nothing(): RawBatch;
}

interface Chunk {
  readonly records: readonly FetchedRecord[];
  readonly next: number;
  readonly bytes: number;
  /** Index of the first record not taken yet. */
  at: number;
}

export function createPrefetch(limits: PrefetchLimits): Prefetch {
  let chunks: Chunk[] = [];
  let held = 0;
  let bytes = 0;
  let position = Number.NaN;
  let end = Number.NaN;

  /** Moves the records of the first chunks into the columns and the position behind them. */
  function fill(batch: Columns, maxEvents: number): void {
    while (chunks.length > 0) {
      const chunk = chunks[0];
      const until = Math.min(chunk.records.length, chunk.at + maxEvents - batch.offsets.length);
      for (; chunk.at < until; chunk.at++) append(batch, chunk.records[chunk.at]);
      if (chunk.at < chunk.records.length) {
        position = batch.offsets[batch.offsets.length - 1] + 1;
        return;
      }
      position = chunk.next;
      bytes -= chunk.bytes;
      chunks.shift();
    }
  }

  const fetchPosition = () => (chunks.length > 0 ? chunks[chunks.length - 1].next : position);

  return {
    get position() {
      return position;
    },
    get fetchPosition() {
      return fetchPosition();
    },
    get isEmpty() {
      return chunks.length === 0;
    },
    get isFull() {
      return held >= limits.records || bytes >= limits.bytes;
    },
    get isLow() {
      return held * 2 <= limits.records && bytes * 2 <= limits.bytes;
    },
    reset(newPosition, newEnd) {
      chunks = [];
      held = 0;
      bytes = 0;
      position = newPosition;
      end = newEnd;
    },
    push(records, next, newEnd) {
      const expected = fetchPosition();
      let from = 0;
      while (from < records.length && Number(records[from].offset) < expected) from++;
      const size = byteSize(records, from);
      chunks.push({ records, next: Math.max(next, expected), bytes: size, at: from });
      held += records.length - from;
      bytes += size;
      end = newEnd;
    },
    ends(newEnd) {
      end = newEnd;
    },
    take(maxEvents) {
      const batch: Columns = { values: [], keys: [], offsets: [], timestamps: [] };
      fill(batch, maxEvents);
      held -= batch.offsets.length;
      return { ...batch, next: position, end };
    },
    nothing: () => ({ values: [], keys: [], offsets: [], timestamps: [], next: position, end }),
  };
}

interface Columns {
  readonly values: (Buffer | null)[];
  readonly keys: (Buffer | null)[];
  readonly offsets: number[];
  readonly timestamps: number[];
}

function append(batch: Columns, record: FetchedRecord): void {
  batch.values.push(record.value);
  batch.keys.push(record.key);
  batch.offsets.push(Number(record.offset));
  batch.timestamps.push(Number(record.timestamp));
}

function byteSize(records: readonly FetchedRecord[], from: number): number {
  let size = 0;
  for (let index = from; index < records.length; index++) {
    const { key, value } = records[index];
    size += (key?.length ?? 0) + (value?.length ?? 0);
  }
  return size;
}
