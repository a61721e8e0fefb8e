import { crc32 } from 'node:zlib';
import type { SubStateChange } from './store.ts';

/** Entity type and id whose sub-states say, by partition, how far its stored state reaches in event time; no names that a config can give. */
export const frontierType = '@frontier';
export const frontierId = 'log';

/** How far one partition has come in event time. */
export interface Frontier {
  /** Its events before this time are applied, but for late ones. Milliseconds since the epoch; -Infinity: nothing is known. */
  readonly time: number;
  readonly state: FrontierState;
  /** When it was said, by its owner's wall clock; milliseconds since the epoch. */
  readonly saidAt: number;
}

/** `waiting` for others that are behind; `at-end` of its log: there is nothing that it has not applied. */
export type FrontierState = (typeof states)[number];

/** As a store has it. */
export interface StoredFrontier extends Frontier {
  /** The log offset (exclusive) through which all of the partition's state was stored, in every slot group, before this was; -1: not known. */
  readonly through: number;
}

const states = ['reading', 'waiting', 'at-end'] as const;
const bytesOfFrontier = 29;

/**
 * Where a partition stands that is about to apply these events: at the earliest that is not late against where it stood before. One event
 * far in the future or the past does not move it; when most are earlier than before, it has gone back.
 */
export function frontierOf(times: Float64Array, count: number, before: number): number {
  let earliest = Number.POSITIVE_INFINITY;
  let earliestInTime = Number.POSITIVE_INFINITY;
  let inTime = 0;
  for (let row = 0; row < count; row++) {
    const time = times[row];
    if (time < earliest) earliest = time;
    if (time < before) continue;
    inTime++;
    if (time < earliestInTime) earliestInTime = time;
  }
  if (count === 0) return before;
  return inTime * 2 >= count ? earliestInTime : earliest;
}

/** The frontier as a store keeps it: f64 time, f64 said at, f64 through, u8 state, u32 crc32 of these; big-endian. @param offset rises with each. */
export function frontierChange({ time, state, saidAt, through }: StoredFrontier, offset: number): SubStateChange {
  const bytes = Buffer.alloc(bytesOfFrontier);
  bytes.writeDoubleBE(time, 0);
  bytes.writeDoubleBE(saidAt, 8);
  bytes.writeDoubleBE(through, 16);
  bytes.writeUInt8(states.indexOf(state), 24);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 25)), 25);
  return { type: frontierType, id: frontierId, offset, bytes };
}

/** Damaged bytes say that nothing is known. */
export function decodeFrontier(stored: Uint8Array): StoredFrontier {
  const bytes = Buffer.from(stored);
  if (bytes.length !== bytesOfFrontier || bytes.readUInt32BE(25) !== crc32(bytes.subarray(0, 25))) {
    return { time: Number.NEGATIVE_INFINITY, state: 'reading', saidAt: 0, through: -1 };
  }
  return {
    time: bytes.readDoubleBE(0),
    saidAt: bytes.readDoubleBE(8),
    through: bytes.readDoubleBE(16),
    state: states[bytes.readUInt8(24)],
  };
}
