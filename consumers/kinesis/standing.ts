import { WeirError } from '../../runtime/errors.ts';
import type { Checkpoint } from './checkpoint.ts';
import { deaggregate } from './deaggregate.ts';
import { createNumbering } from './numbering.ts';
import {
  type Anchor,
  anchorsOf,
  compareSequences,
  type KeptPositions,
  type Place,
  standingOf,
  withBeginning,
} from './positions.ts';
import type { LogStart, ShardLog, ShardRecord } from './shard-log.ts';

/** Where a shard's owner begins. */
export interface Stand {
  /** Undefined where nothing was read before. */
  readonly position: number | undefined;
  /** The same object where nothing is to be written. */
  readonly kept: KeptPositions;
}

/** The position that a lease's checkpoint is. Where another consumer has moved it, the records up to it are read and counted. */
export async function stand(
  checkpoint: Checkpoint,
  kept: KeptPositions,
  log: ShardLog,
  startsAt: () => number,
): Promise<Stand> {
  const standing = standingOf(checkpoint, kept, startsAt);
  if (standing.kind === 'known') return standing;
  const { place, anchors } = await countTo(checkpoint, standing.from, kept, log);
  return { position: place.number + checkpoint.sub + 1, kept: { checkpoint: place, anchors } };
}

interface Counted {
  readonly place: Place;
  readonly anchors: readonly Anchor[];
}

/** The record's place, or, where the log no longer has it, one that lies between those before and those behind. */
async function countTo(
  { sequence, sub }: Checkpoint,
  from: Anchor | undefined,
  kept: KeptPositions,
  log: ShardLog,
): Promise<Counted> {
  const numbering = createNumbering(kept, from);
  let anchors = anchorsOf(kept);
  const least = numbering.next + (from?.users ?? 0);
  for await (const record of recordsFrom(log, startAt(from))) {
    const order = compareSequences(record.sequence, sequence);
    if (order > 0) break;
    const place = numbering.place(record.sequence, record.arrivedAt, usersOf(record));
    if (numbering.isCut) {
      // The anchor is gone, and another one is behind: what is left has the numbers that lead there.
      const behind = anchors.find((anchor) => compareSequences(anchor.sequence, record.sequence) > 0)!;
      const places = await countBack(log, behind, sequence);
      if (places === undefined) throw cutMeanwhile();
      const counted = places.find((one) => one.sequence === sequence);
      if (counted === undefined) break;
      return { place: counted, anchors };
    }
    if (numbering.isUnanchored) anchors = withBeginning(anchors, place);
    if (order === 0) return { place, anchors };
  }
  numbering.reachEnd();
  return { place: { number: Math.max(least, numbering.next), users: sub + 1, sequence }, anchors };
}

export function usersOf({ partitionKey, data }: ShardRecord): number {
  return deaggregate(partitionKey, data, undefined, { keys: [], values: [], subs: [] });
}

/** The oldest record that the log has; undefined where it is empty. */
export async function firstRecord(log: ShardLog): Promise<ShardRecord | undefined> {
  for await (const record of recordsFrom(log, startAt(undefined))) return record;
  return undefined;
}

/** Retention may delete so many records between counting and reading. */
const nearby = 1_024;

/**
 * The places of the log's oldest records, counted back from an anchor, in log order: of those nearby each, then one at each doubling of the
 * way to the anchor, which is the last. However far retention has come meanwhile, there is little to count to the next of them.
 * @param also a record whose place is wanted as well, if it is among them.
 * @returns undefined when the anchor is gone.
 */
export async function countBack(
  log: ShardLog,
  anchor: Anchor,
  also?: string,
): Promise<readonly [Anchor, ...Anchor[]] | undefined> {
  const passed: Anchor[] = [];
  let users = 0;
  let count = 0;
  let due = 0;
  for await (const record of recordsFrom(log, startAt(undefined))) {
    const order = compareSequences(record.sequence, anchor.sequence);
    if (order > 0) return undefined;
    if (order === 0) {
      const [first = anchor, ...others] = passed.map((one) => ({ ...one, number: anchor.number - users + one.number }));
      return passed.length === 0 ? [anchor] : [first, ...others, anchor];
    }
    const place = { number: users, users: Math.max(1, usersOf(record)), sequence: record.sequence };
    if (count === due || record.sequence === also) passed.push({ ...place, isJump: false });
    if (count === due) {
      due = count < nearby ? count + 1 : 2 * count;
    }
    users += place.users;
    count++;
  }
  return undefined;
}

/** The records that are in the log now. */
export async function* recordsFrom(log: ShardLog, from: LogStart): AsyncGenerator<ShardRecord> {
  const pages = log.open(from);
  try {
    for (;;) {
      const { records, isBehindGap, millisBehind, children } = await pages.next();
      if (isBehindGap) throw cutMeanwhile();
      yield* records;
      if (millisBehind === 0 || children !== undefined) return;
    }
  } finally {
    pages.close();
  }
}

export function cutMeanwhile(): WeirError {
  return new WeirError('BROKER', 'the log was cut while its records were counted');
}

export function startAt(from: Anchor | undefined): LogStart {
  return from === undefined ? { kind: 'beginning' } : { kind: 'at', sequence: from.sequence };
}
