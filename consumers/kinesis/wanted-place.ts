import { type Checkpoint, trimHorizon } from './checkpoint.ts';
import { createNumbering } from './numbering.ts';
import { anchorsOf, compareSequences, firstNumber, type KeptPositions, type Place } from './positions.ts';
import type { ShardLog, ShardRecord } from './shard-log.ts';
import { cutMeanwhile, firstRecord, recordsFrom, stand, startAt, usersOf } from './standing.ts';

/** Where an operator wants a shard to be read from. Times are when records arrived, milliseconds since the epoch. */
export type Wanted = { readonly to: 'earliest' | 'latest' } | { readonly time: number };

/** What a lease has to say for the shard to be read from there, and the position that this is. */
export interface WantedPlace {
  readonly checkpoint: Checkpoint;
  readonly kept: KeptPositions;
  readonly position: number;
  /** The least number that the log's oldest record can have. */
  readonly earliest: number;
}

/** What is kept of a shard that nobody has begun: numbers begin with its log. */
export const unbegun: KeptPositions = { checkpoint: { number: firstNumber, time: 0 }, anchors: [] };

/** Where nothing is kept, as with a lease of a Java worker, numbers begin with the log. */
export function countedFrom(kept: KeptPositions): KeptPositions {
  return kept.checkpoint === undefined && kept.anchors.length === 0 ? unbegun : kept;
}

/** The first record that is wanted, and with it all that follows; undefined where the log has none. */
export async function firstWanted(wanted: Wanted, log: ShardLog): Promise<ShardRecord | undefined> {
  if ('to' in wanted) return wanted.to === 'earliest' ? firstRecord(log) : undefined;
  for await (const record of recordsFrom(log, { kind: 'since', time: wanted.time })) {
    if (record.arrivedAt >= wanted.time) return record;
  }
  return undefined;
}

/**
 * The place before the first record that is wanted, at the log's end where there is none. All records keep the numbers that they have, or would
 * have for the shard's next owner: they are counted as that one does.
 * @returns undefined where the log is empty.
 * @throws WeirError BROKER when the log is cut meanwhile.
 */
export async function wantedPlace(
  wanted: Wanted,
  kept: KeptPositions,
  log: ShardLog,
): Promise<WantedPlace | undefined> {
  const known = countedFrom(kept);
  const first = await firstWanted(wanted, log);
  const last = await lastBefore(first, known, log);
  if (last !== undefined) {
    const checkpoint = { sequence: last.sequence, sub: Math.max(1, usersOf(last)) - 1 };
    const { position, kept: found } = await stand(checkpoint, known, log, never);
    const earliest = await earliestNumber(found, last, log);
    return { checkpoint, kept: found, position: position!, earliest };
  }
  if (first === undefined) return undefined;
  const { kept: found } = await stand({ sequence: first.sequence, sub: 0 }, known, log, never);
  const { number } = found.checkpoint as Place;
  const anchors = anchorsOf(found);
  await earliestNumber(found, first, log);
  return {
    checkpoint: trimHorizon,
    kept: { checkpoint: { number, time: 0 }, anchors },
    position: number,
    earliest: number,
  };
}

/** @param first undefined: the log's last record is meant. */
async function lastBefore(
  first: ShardRecord | undefined,
  kept: KeptPositions,
  log: ShardLog,
): Promise<ShardRecord | undefined> {
  const isBefore = (sequence: string) => first === undefined || compareSequences(sequence, first.sequence) < 0;
  const from = anchorsOf(kept).findLast(({ sequence }) => isBefore(sequence));
  let last: ShardRecord | undefined;
  for await (const record of recordsFrom(log, startAt(from))) {
    if (!isBefore(record.sequence)) break;
    last = record;
  }
  return last;
}

/** @param counted a record that was counted: with it gone, its number may have been made up. */
async function earliestNumber(kept: KeptPositions, counted: ShardRecord, log: ShardLog): Promise<number> {
  const oldest = await firstRecord(log);
  if (oldest === undefined || compareSequences(oldest.sequence, counted.sequence) > 0) throw cutMeanwhile();
  return createNumbering(kept, undefined).place(oldest.sequence, oldest.arrivedAt, 1).number;
}

function never(): never {
  throw new Error('a checkpoint at a record needs no time');
}
