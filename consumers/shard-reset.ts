import type { Rewinder } from '../features/rewinder.ts';
import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { openRewinder, type Surroundings } from './components.ts';
import { isInitial, trimHorizon } from './kinesis/checkpoint.ts';
import { type KinesisSourceConfig, leaseTableName } from './kinesis/config.ts';
import type { OperatedShard, StreamOperation } from './kinesis/operation.ts';
import { firstNumber, isOrigin, type KeptPositions, readPositions, writePositions } from './kinesis/positions.ts';
import { isWanted } from './kinesis/shard-standing.ts';
import { shardNumber } from './kinesis/shards.ts';
import { stand } from './kinesis/standing.ts';
import {
  countedFrom,
  firstWanted,
  unbegun,
  type Wanted,
  type WantedPlace,
  wantedPlace,
} from './kinesis/wanted-place.ts';
import { partitionName } from './ports.ts';
import { plannedShard, type ShardMove, type ShardPlace } from './shard-plan.ts';

/** A reset that is thought out, and may be carried out. The state store is open until it is closed. */
export interface ShardReset {
  readonly moves: readonly ShardMove[];
  /**
   * Does it, as the owner of all leases: state first, checkpoints last. Interrupted anywhere, what is missing of the state is made anew at the
   * next start up to where each checkpoint is, and the same command does what is not done yet.
   * @throws WeirError FENCED when somebody has had a lease meanwhile.
   */
  carryOut(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Finds out what moving the application's positions would do. Changes nothing.
 * @throws WeirError CONFIG while somebody reads the stream, where the state is another application's, or where ids could not be kept; INPUT when
 *   there is no such stream or lease table; else as AWS and the store answer.
 */
export async function planShardReset(
  job: CompiledJob,
  kinesis: KinesisSourceConfig,
  wanted: Wanted,
  surroundings: Surroundings,
): Promise<ShardReset> {
  const { clock } = surroundings;
  // Loaded where it is used: the SDK takes a fifth of a second.
  const { openStreamOperation } = await import('./kinesis/operation.ts');
  const stream = await openStreamOperation(kinesis, clock);
  let rewinder: Rewinder | undefined;
  try {
    demandQuiet(stream.shards, kinesis);
    rewinder = await openRewinder(job, surroundings);
    const now = clock.now();
    // Kinesis refuses a time that is yet to come.
    const from: Wanted = 'time' in wanted && wanted.time >= now ? { to: 'latest' } : wanted;
    const places = await findPlaces(stream, kinesis.stream, from, now);
    const fences = await rewinder.fences(places.map(({ name }) => name));
    const beyond = await rewinder.countBeyond(limitsOf(places));
    const moves = places.map((of, index) => plannedShard(of, fences[index], beyond.get(of.name) ?? 0));
    demandPositions(job.config.job, kinesis, moves);
    const opened = rewinder;
    return {
      moves,
      carryOut: () => carryOut(stream, moves, opened),
      async close() {
        await opened.close();
        stream.close();
      },
    };
  } catch (error) {
    await rewinder?.close();
    stream.close();
    throw error;
  }
}

function limitsOf(moves: readonly ShardPlace[]): Map<string, number> {
  return new Map(moves.map(({ name, place }) => [name, place.position]));
}

/** Whoever scores must not be surprised. */
function demandQuiet(shards: readonly OperatedShard[], { application }: KinesisSourceConfig): void {
  const owners = shards.flatMap(({ state, seen, holding }) =>
    holding === 'held' || (holding === 'owned' && isWanted(state)) ? (seen!.lease.owner ?? []) : [],
  );
  if (owners.length === 0) return;
  const workers = [...new Set(owners)].sort().join(', ');
  throw new WeirError('CONFIG', `application ${application} has workers that live: ${workers}. Stop them first`);
}

/** Where each shard goes that has something to be read. */
async function findPlaces(
  stream: StreamOperation,
  streamName: string,
  wanted: Wanted,
  now: number,
): Promise<ShardPlace[]> {
  const ended = stream.shards.filter(({ state }) => state === 'finished' || state === 'past');
  await demandUnended(stream, ended, wanted, now);
  const hasWanted = withAncestors(stream, wanted);
  const places = stream.shards.map(async (of): Promise<ShardPlace[]> => {
    if (!isWanted(of.state) && of.state !== 'missing') return [];
    // What follows a record that is wanted is wanted.
    const isAll = await anyOf(of.parents, hasWanted);
    const from: Wanted = isAll ? { to: 'earliest' } : wanted;
    if (of.seen === undefined) {
      await demandUnpassed(stream, of, from);
      return [];
    }
    const { lease } = of.seen;
    const log = stream.log(of.shard);
    const kept = readPositions(lease.positions ?? {}, lease.key);
    const committed = await committedOf(of, kept, stream);
    const place = untouched(of, await wantedPlace(from, kept, log)) ?? emptyPlace(of, kept, committed);
    const partition = shardNumber(of.shard);
    const isWhole = await stream.isWhole(lease, place.kept);
    const name = partitionName({ stream: streamName, partition });
    return [{ shard: of.shard, partition, name, state: of.state, lease, committed, place, isWhole }];
  });
  return (await Promise.all(places)).flat();
}

/** Whether a shard, or one that it came from, has a record that is wanted. Each is asked once. */
function withAncestors(stream: StreamOperation, wanted: Wanted): (shard: string) => Promise<boolean> {
  const byId = new Map(stream.shards.map((of) => [of.shard, of]));
  const asked = new Map<string, Promise<boolean>>();
  const ask = async (id: string): Promise<boolean> => {
    const of = byId.get(id);
    if (of === undefined || of.state === 'gone') return false;
    if (await anyOf(of.parents, hasWanted)) return true;
    // Those that have ended have none: else the plan would have been refused.
    return isWanted(of.state) && (await firstWanted(wanted, stream.log(id))) !== undefined;
  };
  const hasWanted = (id: string) => {
    const answer = asked.get(id) ?? ask(id);
    asked.set(id, answer);
    return answer;
  };
  return hasWanted;
}

async function anyOf<T>(of: readonly T[], holds: (one: T) => Promise<boolean>): Promise<boolean> {
  return (await Promise.all(of.map(holds))).includes(true);
}

/** Counted as the new place is. @returns undefined where nothing was read, or somebody has set the checkpoint back to the log's beginning. */
async function committedOf(
  { shard, seen }: OperatedShard,
  kept: KeptPositions,
  stream: StreamOperation,
): Promise<number | undefined> {
  const { checkpoint } = seen!.lease;
  if (isInitial(checkpoint)) return isOrigin(kept.checkpoint) ? kept.checkpoint.number : undefined;
  const { position } = await stand(checkpoint, countedFrom(kept), stream.log(shard), () => Number.NaN);
  return position;
}

/** One that nobody has begun, and that goes to where it would begin, is left to its first owner: its log counts as whole only then. */
function untouched({ seen }: OperatedShard, place: WantedPlace | undefined): WantedPlace | undefined {
  const { checkpoint, positions } = seen!.lease;
  const isUnbegun = positions === undefined && checkpoint.sequence === trimHorizon.sequence;
  if (place === undefined || !isUnbegun || !isInitial(place.checkpoint)) return place;
  return { ...place, kept: { checkpoint: undefined, anchors: [] } };
}

/** A shard without records stays where it is. Where nobody has begun it, it begins with the first that comes. */
function emptyPlace({ seen }: OperatedShard, kept: KeptPositions, committed: number | undefined): WantedPlace {
  const { checkpoint } = seen!.lease;
  if (isInitial(checkpoint) && kept.checkpoint === undefined) {
    return { checkpoint: trimHorizon, kept: unbegun, position: firstNumber, earliest: firstNumber };
  }
  const position = committed ?? kept.anchors.at(-1)?.number ?? firstNumber;
  return { checkpoint, kept, position, earliest: position };
}

/**
 * A shard that was read to its end is not begun again: with its lease the numbers of its records are gone, and with them the ids of their events.
 * @throws WeirError CONFIG where one has a record that is wanted.
 */
async function demandUnended(
  stream: StreamOperation,
  ended: readonly OperatedShard[],
  wanted: Wanted,
  now: number,
): Promise<void> {
  const found = await Promise.all(
    ended.map(async ({ shard }) => {
      const log = stream.log(shard);
      const first = await firstWanted(wanted, log).catch(goneIsNone);
      return first === undefined ? [] : [{ shard, log, first }];
    }),
  );
  const again = found.flat();
  if (again.length === 0) return;
  const times = await Promise.all(again.map(({ log, first }) => timeBehind(log, first.arrivedAt, now)));
  const time = new Date(Math.max(...times)).toISOString();
  throw new WeirError(
    'CONFIG',
    `nothing is changed: shards that were split or merged and read to their end since have records of then or later: ${again.map(({ shard }) => shard).join(', ')}. Which numbers their records had, nobody keeps, so events would come ` +
      `again with other ids. Go back to no earlier than ${time}; docs/operations.md says what can be done about what was before`,
  );
}

/** It may have left the stream meanwhile. */
function goneIsNone(error: unknown): undefined {
  if (error instanceof WeirError && error.code === 'INPUT') return undefined;
  throw error;
}

const precisionMs = 1_000;

/** A time that is later than all records of a log that has one of that time, by a second at most. */
async function timeBehind(log: Parameters<typeof firstWanted>[1], from: number, now: number): Promise<number> {
  let within = from;
  let behind = now;
  while (behind - within > precisionMs) {
    const middle = Math.floor((within + behind) / 2);
    if ((await firstWanted({ time: middle }, log)) === undefined) behind = middle;
    else within = middle;
  }
  return behind;
}

/** @throws WeirError CONFIG where a shard has records before the place, and no lease that could say that they are left out. */
async function demandUnpassed(stream: StreamOperation, { shard }: OperatedShard, from: Wanted): Promise<void> {
  const place = await wantedPlace(from, unbegun, stream.log(shard));
  if (place === undefined || isInitial(place.checkpoint)) return;
  throw new WeirError(
    'CONFIG',
    `nothing is changed: ${shard} has no lease yet, and records before that place. Start a process, which makes the lease, wait until weir fleet status shows none missing, stop it, and run the command again`,
  );
}

/**
 * State is known by job and recipe, not by the application: a mistyped one must not take the state of the one that is meant.
 * @throws WeirError CONFIG where a shard has state, and a lease that nobody has begun to read by.
 */
function demandPositions(job: string, kinesis: KinesisSourceConfig, moves: readonly ShardMove[]): void {
  const taken = moves.find(
    ({ lease, beyond, fence }) =>
      lease.positions === undefined && isInitial(lease.checkpoint) && (beyond > 0 || fence !== undefined),
  );
  if (taken === undefined) return;
  throw new WeirError(
    'CONFIG',
    `application ${kinesis.application} (lease table ${leaseTableName(kinesis)}) has not begun to read ${taken.shard}, but job ${job} has state of it, which is then another application's: check source.kinesis.application. ` +
      'Where the lease table was made anew, empty the state or give the job another name',
  );
}

async function carryOut(stream: StreamOperation, moves: readonly ShardMove[], rewinder: Rewinder): Promise<void> {
  const leases = await stream.keep(moves.map(({ lease }) => lease));
  try {
    const rewound = moves.filter(({ isRewound }) => isRewound);
    if (rewound.length > 0) await rewinder.eraseBeyond(limitsOf(rewound), leases.demand);
    for (const { shard, place } of moves) {
      leases.demand();
      await leases.put(shard, place.checkpoint, writePositions(place.kept));
    }
  } finally {
    await leases.giveUp();
  }
}
