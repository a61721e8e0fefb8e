import { crc32 } from 'node:zlib';
import type { Clock } from '../runtime/clock.ts';
import type { StateStore, StoredSubState, SubStateChange } from './store.ts';

/** Entity type and id whose sub-states say, by partition, since when there is history; no names that a config can give. */
export const historyType = '@history';
export const historyId = 'log';

/** Of one partition, times in milliseconds since the epoch. */
export interface Known {
  /** All that happened from then on is known. */
  readonly from: number;
  /** Until then; Infinity for a log, which goes on. */
  readonly until: number;
  /** Of two facts the one with the greater offset counts. */
  readonly offset: number;
}

/**
 * Since when the partitions' logs have history, where they do not have all: what was deleted before it was applied would be missed silently.
 * A partition without a fact has all.
 */
export interface History {
  /** The partition's log begins behind what is stored of it: the next event that comes is the first that is known. */
  truncated(partition: string, offset: number): void;
  /** Events of the partition come. */
  began(partition: string, times: Float64Array, offsets: Float64Array, count: number): void;
  /** What is new of the partition since the last call, for the store. */
  take(partition: string): SubStateChange[];
  /** What is held of the partition is not to be trusted any more. */
  forget(partition: string): void;
  /** Reads what the store has. */
  learn(): Promise<void>;
  /** Whether it has learnt before, and is to do it again: others may have added to it. */
  isDue(): boolean;
  /** What is known of one partition; undefined where that is all. */
  of(partition: string): Known | undefined;
  /**
   * Since when all history is known of a stream's partition, or of all its partitions; -Infinity for ever.
   * @param ofStream what the names of the stream's partitions begin with; facts of others are about files.
   */
  knownFrom(ofStream: string, partition?: string): number;
}

const learnMs = 5_000;
const bytesOfFact = 20;

/** @param latenessMs events of a log are no later than this against those before them. */
export function createHistory(store: StateStore, clock: Clock, latenessMs: number): History {
  const facts = new Map<string, Known>();
  const waiting = new Set<string>();
  const changed = new Set<string>();
  let version = 0;
  let learntAt = Number.POSITIVE_INFINITY;

  function note(partition: string, known: Known): void {
    facts.set(partition, known);
    changed.add(partition);
  }

  return {
    truncated(partition, offset) {
      waiting.add(partition);
      // Until an event says when: a fence beyond it must not be stored without.
      note(partition, { from: Number.POSITIVE_INFINITY, until: Number.POSITIVE_INFINITY, offset });
    },
    began(partition, times, offsets, count) {
      if (count === 0 || !waiting.delete(partition)) return;
      note(partition, { from: times[0] + latenessMs, until: Number.POSITIVE_INFINITY, offset: offsets[0] + 1 });
    },
    take(partition) {
      if (!changed.delete(partition)) return [];
      return [historyChange(facts.get(partition)!)];
    },
    forget(partition) {
      facts.delete(partition);
      waiting.delete(partition);
      changed.delete(partition);
      version = 0;
    },
    async learn() {
      learntAt = clock.monotonic();
      const [answer] = await store.load([{ type: historyType, id: historyId, version }], new Set());
      version = answer.version;
      for (const { partition, offset, bytes } of answer.subStates) {
        if ((facts.get(partition)?.offset ?? -1) >= offset) continue;
        const known = decodeKnown(bytes, offset);
        facts.set(partition, known);
        // A former owner has stored that the log begins later, and had no event to say when.
        if (isAwaited(known)) waiting.add(partition);
        else waiting.delete(partition);
      }
    },
    isDue: () => clock.monotonic() - learntAt > learnMs,
    of: (partition) => facts.get(partition),
    knownFrom: (ofStream, partition) =>
      knownFrom(facts, latenessMs, ofStream, partition === undefined ? undefined : [partition]),
  };
}

/**
 * Since when all history is known, by these facts; -Infinity for ever.
 * @param partitions whose history is asked for; undefined for all of the stream.
 */
export function knownFrom(
  facts: ReadonlyMap<string, Known>,
  latenessMs: number,
  ofStream: string,
  partitions: readonly string[] | undefined,
): number {
  if (facts.size === 0) return Number.NEGATIVE_INFINITY;
  let from = Number.NEGATIVE_INFINITY;
  for (const [name, known] of facts)
    if (name.startsWith(ofStream) && (partitions?.includes(name) ?? true)) from = Math.max(from, known.from);
  return throughFiles(facts, latenessMs, from, ofStream);
}

/** Files that reach up to the time take it back to where they begin. */
function throughFiles(facts: ReadonlyMap<string, Known>, latenessMs: number, from: number, ofStream: string): number {
  const files = [...facts].filter(([partition]) => !partition.startsWith(ofStream)).map(([, known]) => known);
  const reaching = (time: number) => files.find((file) => file.from < time && file.until + latenessMs >= time);
  let time = from;
  for (let file = reaching(time); file !== undefined; file = reaching(time)) time = file.from;
  return time;
}

/** What a store has of it, by partition. */
export function readHistory(stored: readonly StoredSubState[]): Map<string, Known> {
  return new Map(stored.map(({ partition, offset, bytes }) => [partition, decodeKnown(bytes, offset)]));
}

function isAwaited({ from, until }: Known): boolean {
  return from === Number.POSITIVE_INFINITY && until === Number.POSITIVE_INFINITY;
}

/** The fact as a store keeps it. */
export function historyChange(known: Known): SubStateChange {
  return { type: historyType, id: historyId, offset: known.offset, bytes: encode(known) };
}

/** f64 from, f64 until, u32 crc32 of both; big-endian. */
function encode({ from, until }: Known): Uint8Array {
  const bytes = Buffer.alloc(bytesOfFact);
  bytes.writeDoubleBE(from, 0);
  bytes.writeDoubleBE(until, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 16)), 16);
  return bytes;
}

/** Damaged bytes say that nothing is known. */
function decodeKnown(stored: Uint8Array, offset: number): Known {
  const bytes = Buffer.from(stored);
  if (bytes.length !== bytesOfFact || bytes.readUInt32BE(16) !== crc32(bytes.subarray(0, 16))) {
    return { from: Number.POSITIVE_INFINITY, until: Number.NEGATIVE_INFINITY, offset };
  }
  return { from: bytes.readDoubleBE(0), until: bytes.readDoubleBE(8), offset };
}
