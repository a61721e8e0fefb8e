import type { FleetShard, KinesisFleet } from '../consumers/fleet.ts';
import type { Checkpoint } from '../consumers/kinesis/checkpoint.ts';
import { isWanted, type ShardState, shardStates } from '../consumers/kinesis/shard-standing.ts';
import { describeError } from '../runtime/errors.ts';
import {
  ageText,
  frontierAsJson,
  frontierCells,
  frontierHeads,
  type Remark,
  remarksAsText,
  storeAway,
} from './fleet-remark.ts';
import { table } from './table.ts';

/** How `weir fleet status` shows a fleet that reads Kinesis. */
export function kinesisFleetAsText(view: KinesisFleet, now: number): string {
  const { stream, application, leaseTable, watchedMs, shards } = view;
  const counts = shardStates.flatMap((state) => countOf(shards, state));
  const workers = workersOf(view).map(({ worker, leases, expired }) => [worker, leases, expired]);
  return [
    `Stream ${stream} as application ${application}, lease table ${leaseTable}, watched for ${(watchedMs / 1000).toFixed(1)} s; shards: ${counts.join(', ') || 'none'}\n\n`,
    table(
      ['shard', 'state', 'owner', 'lease', 'counter', 'parents', 'children'],
      shards.map((of) => [
        ...[of.shard, of.state, of.seen?.lease.owner ?? (of.seen === undefined ? '' : 'nobody'), of.holding ?? ''],
        ...[of.seen?.lease.counter ?? '', numbersOf(of.parents), numbersOf(of.children)],
      ]),
    ),
    '\n',
    table(
      ['partition', 'checkpoint', 'position', 'fence', 'not stored', 'fence anchor', ...frontierHeads],
      shards
        .filter(({ seen }) => seen !== undefined)
        .map((of) => [
          ...[of.partition, checkpointText(of.seen!.lease.checkpoint), of.position ?? '', of.fence ?? ''],
          ...[unstored(of) ?? '', of.fenceAnchor?.number ?? '', ...frontierCells(of.frontier, now)],
        ]),
    ),
    ...(workers.length === 0 ? [] : ['\n', table(['worker', 'leases', 'expired'], workers)]),
    '\nHow far a reader is behind the newest record: weir_behind_latest_seconds of its process; asking Kinesis would cost its readers requests.\n',
    remarksAsText(remarksOn(view)),
  ].join('');
}

/** The same for machines; `docs/operations.md` has the fields. */
export function kinesisFleetAsJson(view: KinesisFleet): object {
  const { stream, application, leaseTable, watchedMs, shards, storeFault } = view;
  return {
    source: 'kinesis',
    stream,
    application,
    lease_table: leaseTable,
    watched_ms: Math.round(watchedMs),
    workers: workersOf(view),
    shards: shards.map((of) => ({
      shard: of.shard,
      partition: of.partition,
      state: of.state,
      parents: of.parents,
      children: of.children,
      lease: leaseAsJson(of),
      position: of.position ?? null,
      fence: of.fence ?? null,
      not_stored: unstored(of) ?? null,
      frontier: frontierAsJson(of.frontier),
    })),
    store_fault: storeFault === undefined ? null : describeError(storeFault),
    remarks: remarksOn(view),
  };
}

function leaseAsJson({ seen, holding, silentMs, fenceAnchor }: FleetShard): object | null {
  if (seen === undefined) return null;
  const { owner, counter, checkpoint, ownerSwitches } = seen.lease;
  return {
    owner: owner ?? null,
    holding,
    silent_ms: Math.round(silentMs!),
    counter,
    owner_switches: ownerSwitches,
    checkpoint: { sequence: checkpoint.sequence, sub_sequence: checkpoint.sub },
    fence_anchor: fenceAnchor === undefined ? null : { number: fenceAnchor.number, sequence: fenceAnchor.sequence },
  };
}

/** Workers that have a lease, by name, with those that have expired. */
function workersOf({ shards }: KinesisFleet): { worker: string; leases: number; expired: number }[] {
  const workers = new Map<string, { worker: string; leases: number; expired: number }>();
  for (const { seen, holding } of shards) {
    const worker = seen?.lease.owner;
    if (worker === undefined) continue;
    const { leases, expired } = workers.get(worker) ?? { leases: 0, expired: 0 };
    workers.set(worker, { worker, leases: leases + 1, expired: expired + Number(holding === 'expired') });
  }
  return [...workers.values()].sort((a, b) => (a.worker < b.worker ? -1 : 1));
}

function countOf(shards: readonly FleetShard[], state: ShardState): string[] {
  const count = shards.filter((of) => of.state === state).length;
  return count === 0 ? [] : [`${count} ${state}`];
}

/** Records whose risk events are published and whose state is not stored yet. */
function unstored({ position, fence }: FleetShard): number | undefined {
  return position === undefined || fence === undefined ? undefined : Math.max(0, position - fence);
}

/** The end of a sequence number, of which 56 digits tell people nothing, and the sub-sequence number. */
export function checkpointText({ sequence, sub }: Checkpoint): string {
  return /^\d{13,}$/.test(sequence) ? `…${sequence.slice(-12)}:${sub}` : sequence;
}

/** Partition numbers of shards. */
function numbersOf(ids: readonly string[]): string {
  return ids.map((id) => String(Number(id.split('-').at(-1)))).join(', ');
}

function remarksOn(view: KinesisFleet): Remark[] {
  const { shards, storeFault } = view;
  const wanted = shards.filter(({ state }) => isWanted(state));
  const isUnread = wanted.length > 0 && wanted.every(({ holding }) => holding === 'free' || holding === 'expired');
  const nobody =
    'Nobody reads the stream: no shard that has something to read has an owner that renews its lease. Start processes.';
  return [
    ...(isUnread ? [{ what: 'no-workers', of: null, message: nobody }] : []),
    ...(wanted.some(({ holding }) => holding === 'owned') ? [unwatched(view)] : []),
    ...shards.flatMap((of) => [...shardRemarks(of, view), ...positionRemarks(of)]),
    ...(storeFault === undefined ? [] : [storeAway(describeError(storeFault))]),
  ];
}

function unwatched({ watchedMs, failoverMs }: KinesisFleet): Remark {
  const message = `Whether all owners live is not known: the leases were watched for ${ageText(watchedMs)} of the ${failoverMs / 1000} s after which one is anybody's. Leave out --once to see.`;
  return { what: 'not-watched', of: null, message };
}

function shardRemarks({ shard, state, holding, seen, silentMs }: FleetShard, view: KinesisFleet): Remark[] {
  const about = (what: string, message: string) => [{ what, of: shard, message: `${shard}: ${message}` }];
  if (state === 'gone') {
    return about(
      'gone',
      'the stream does not have it any more, and it was not read to its end: what was left is lost.',
    );
  }
  if (state === 'missing') {
    const within = `${view.shardSyncMs / 1000} s (shard_sync_interval_ms)`;
    return about('missing', `it has no lease yet; a process that runs makes one within ${within}.`);
  }
  if (!isWanted(state)) return [];
  if (holding === 'expired') {
    const { owner, counter } = seen!.lease;
    return about(
      'expired',
      `${owner} has not renewed the lease (counter ${counter}) for ${ageText(silentMs!)}: it is dead or cut off. A process that lives takes the lease; if none does, there is none, or each has max_leases.`,
    );
  }
  if (holding === 'free') {
    return about(
      'free',
      `nobody has the lease. A process that runs takes it at its next look, within 0.8 × failover_time_ms; if none does, there is none, or each has max_leases.`,
    );
  }
  return [];
}

export function positionRemarks({ shard, position, fence, isMoved }: FleetShard): Remark[] {
  const about = (what: string, message: string) => [{ what, of: shard, message: `${shard}: ${message}` }];
  if (isMoved) {
    return about(
      'moved',
      'another consumer of the lease table has moved the checkpoint; the next weir process that takes the lease counts the records up to it.',
    );
  }
  if (position !== undefined && fence !== undefined && fence > position) {
    return about(
      'state-ahead',
      'the state reaches beyond the position, which somebody has set back. No process can read the shard: run weir offsets reset to the time that is wanted.',
    );
  }
  return [];
}
