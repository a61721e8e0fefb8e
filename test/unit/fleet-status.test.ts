import { describe, expect, it } from '@jest/globals';
import { kafkaFleetAsJson, kafkaFleetAsText } from '../../cli/fleet-kafka.ts';
import { kinesisFleetAsJson, kinesisFleetAsText } from '../../cli/fleet-kinesis.ts';
import type { FleetPartition, FleetShard, KafkaFleet, KinesisFleet } from '../../consumers/fleet.ts';
import type { SeenMember } from '../../consumers/kafka/group-view.ts';
import type { Checkpoint } from '../../consumers/kinesis/checkpoint.ts';
import { type Lease, newLease } from '../../consumers/kinesis/lease.ts';
import { type LeaseView, look } from '../../consumers/kinesis/lease-view.ts';
import { firstNumber, writePositions } from '../../consumers/kinesis/positions.ts';
import { holdingOf, positionOf, shardStandings } from '../../consumers/kinesis/shard-standing.ts';
import { missingLeases, type Shard, shardNumber } from '../../consumers/kinesis/shards.ts';
import { WeirError } from '../../runtime/errors.ts';

const now = Date.parse('2026-01-09T12:00:00Z');
const frontier = { time: now - 60_000, state: 'at-end', saidAt: now - 3_000 } as const;

interface Shown {
  readonly remarks: readonly { readonly what: string; readonly of: string | number | null }[];
}
const remarked = (json: object) => (json as Shown).remarks.map(({ what, of }) => [what, of]);

describe('weir fleet status of a consumer group', () => {
  const one: SeenMember = { id: 'weir-1', name: 'one-0', clientId: 'weir', host: '10.0.0.1', partitions: [0] };
  const other: SeenMember = { id: 'java-2', name: undefined, clientId: 'java', host: '10.0.0.2', partitions: [] };
  const partition = (number: number, of: Partial<FleetPartition>): FleetPartition => ({
    partition: number,
    committed: 1_000,
    begin: 0,
    end: 1_000,
    lag: 0,
    owner: undefined,
    fence: 1_000,
    frontier: undefined,
    trouble: undefined,
    ...of,
  });
  const fleet: KafkaFleet = {
    kind: 'kafka',
    topic: 'transactions',
    groupName: 'card-risk',
    group: { state: 'Stable', protocol: 'weir-sticky', generationAtLeast: 12, members: [one, other] },
    partitions: [
      partition(0, { owner: one, end: 12_345, lag: 11_345, fence: 900, frontier }),
      partition(1, { committed: undefined, fence: undefined, begin: 5, lag: 995, trouble: 'short' }),
    ],
    hasPositions: true,
    storeFault: undefined,
  };

  it('is a table for people', () => {
    expect(kafkaFleetAsText(fleet, now)).toBe(
      `Group card-risk in topic transactions: Stable, generation 12 or later, shared out by weir-sticky; 12,340 records behind

partition  owner   host      committed  log begins  log ends     lag  fence  event time                is      said
        0  one-0   10.0.0.1      1,000           0    12,345  11,345    900  2026-01-09T11:59:00.000Z  at-end  3 s ago
        1  nobody                                5     1,000     995

member  host      has  partitions  id
one-0   10.0.0.1    1  0           weir-1
java    10.0.0.2    0              java-2

Wants attention:
- Partition 1 is read by nobody: it is new and no member has noticed it yet (topic_refresh_ms), or the members read another topic.
- java at 10.0.0.2 has no partition: group card-risk has more members than partitions. It stands by.
- Partition 1: the log begins behind what is stored. Windows that reach further back will be incomplete until they have filled.
`,
    );
  });

  it('is one object for machines, which has null for what is not known', () => {
    expect(kafkaFleetAsJson(fleet)).toMatchObject({
      source: 'kafka',
      group: 'card-risk',
      generation_at_least: 12,
      members: [
        { id: 'weir-1', name: 'one-0', client_id: 'weir', host: '10.0.0.1', partitions: [0] },
        { id: 'java-2', name: null, partitions: [] },
      ],
      partitions: [
        {
          partition: 0,
          owner: { id: 'weir-1', name: 'one-0', host: '10.0.0.1' },
          lag: 11_345,
          frontier: { event_time: '2026-01-09T11:59:00.000Z', state: 'at-end', said_at: '2026-01-09T11:59:57.000Z' },
          trouble: null,
        },
        { partition: 1, owner: null, committed: null, fence: null, frontier: null, trouble: 'short' },
      ],
      store_fault: null,
    });
    expect(remarked(kafkaFleetAsJson(fleet))).toEqual([
      ['unowned', 1],
      ['idle-member', 'java'],
      ['state-short', 1],
    ]);
  });

  it("does not call a partition nobody's while the group shares them out", () => {
    const members = [{ ...one, name: undefined, partitions: [] }];
    const group = { state: 'PreparingRebalance', protocol: '', generationAtLeast: undefined, members };
    const [, second] = fleet.partitions;
    const view = { ...fleet, group, partitions: [{ ...second, trouble: undefined }] };
    expect(remarked(kafkaFleetAsJson(view))).toEqual([['rebalancing', null]]);
    expect(kafkaFleetAsText(view, now)).toMatch(
      /^Group card-risk in topic transactions: PreparingRebalance; 995 records/,
    );
  });
});

describe('weir fleet status of a stream', () => {
  const failoverMs = 10_000;
  const sequence = (tail: number) => `496${String(tail).padStart(53, '0')}`;
  const hashRange = { start: '0', end: '1' };
  const shard = (number: number, parents: readonly number[] = [], isOpen = true): Shard => ({
    id: id(number),
    parents: parents.map(id),
    hashRange,
    isOpen,
  });
  const id = (number: number) => `shardId-${String(number).padStart(12, '0')}`;
  const lease = (number: number, checkpoint: Checkpoint, of: Partial<Lease> = {}): Lease => ({
    ...newLease(id(number), checkpoint, []),
    counter: 7,
    owner: 'one-0:abc',
    ...of,
  });
  const at = (tail: number, sub = 0): Checkpoint => ({ sequence: sequence(tail), sub });
  const trimHorizon: Checkpoint = { sequence: 'TRIM_HORIZON', sub: 0 };
  const shardEnd: Checkpoint = { sequence: 'SHARD_END', sub: 0 };

  /** What is seen of the leases at the first look, and whose counters have risen until the last, the failover time later. */
  function viewOf(listed: readonly Shard[], leases: readonly Lease[], renewed: readonly number[]): KinesisFleet {
    const risen = leases.map((one) => (renewed.includes(shardNumber(one.key)) ? { ...one, counter: 9 } : one));
    const view: LeaseView = look(look(new Map(), leases, 1_000), risen, 4_000);
    const due = missingLeases(listed, leases, 'LATEST').map(({ key }) => key);
    const lastLookAt = 1_000 + failoverMs;
    const shards = shardStandings(listed, view, new Set(due)).map(
      (of): FleetShard => ({
        ...of,
        ...(of.seen === undefined
          ? { position: undefined, isMoved: false, fenceAnchor: undefined }
          : positionOf(of.seen.lease)),
        partition: shardNumber(of.shard),
        holding: of.seen && holdingOf(of.seen, 1_000, lastLookAt, failoverMs),
        silentMs: of.seen && lastLookAt - of.seen.since,
        fence: undefined,
        frontier: undefined,
      }),
    );
    const names = { stream: 'transactions', application: 'card-risk', leaseTable: 'card-risk' };
    return {
      kind: 'kinesis',
      ...names,
      failoverMs,
      shardSyncMs: 60_000,
      watchedMs: failoverMs,
      shards,
      storeFault: undefined,
    };
  }

  const listed = [
    shard(0, [], false),
    shard(1, [], false),
    shard(2),
    shard(3, [0]),
    shard(4, [1]),
    shard(5, [1]),
    shard(6, [2], false),
    shard(9),
  ];
  const leases = [
    lease(0, shardEnd, { children: [id(3)] }),
    lease(1, at(5), { owner: 'two-0:def' }),
    lease(2, at(77, 3), {
      positions: writePositions({
        checkpoint: { number: firstNumber + 40, users: 5, sequence: sequence(77) },
        anchors: [
          { number: firstNumber + 9, users: 1, sequence: sequence(30), isJump: false },
          { number: firstNumber + 60, users: 1, sequence: sequence(90), isJump: false },
        ],
      }),
    }),
    lease(3, trimHorizon, { owner: undefined, parents: [id(0)] }),
    lease(4, trimHorizon, { parents: [id(1)] }),
    lease(8, at(1)),
  ];
  const view = viewOf(listed, leases, [0, 2, 4, 8]);
  const [, , second] = view.shards;
  const seen = {
    ...view,
    shards: view.shards.map((of) => (of === second ? { ...of, fence: firstNumber + 30, frontier } : of)),
  };

  it('tells how each shard stands', () => {
    expect(view.shards.map(({ partition, state, holding }) => [partition, state, holding])).toEqual([
      [0, 'finished', 'held'],
      [1, 'draining', 'expired'],
      [2, 'open', 'held'],
      [3, 'open', 'free'],
      [4, 'waiting', 'held'],
      [5, 'missing', undefined],
      [6, 'past', undefined],
      [8, 'gone', 'held'],
      [9, 'missing', undefined],
    ]);
    expect(view.shards.map(({ children }) => children.map(shardNumber))).toEqual([
      [3],
      [4, 5],
      [6],
      [],
      [],
      [],
      [],
      [],
      [],
    ]);
  });

  it('counts in records, from what the lease keeps of numbers', () => {
    expect(second).toMatchObject({ position: firstNumber + 40 + 3 + 1, fenceAnchor: { number: firstNumber + 9 } });
    const moved = { ...second.seen!.lease, checkpoint: at(80) };
    expect(positionOf(moved)).toMatchObject({ position: undefined, isMoved: true });
    expect(positionOf(leases[3])).toEqual({ position: undefined, isMoved: false, fenceAnchor: undefined });
  });

  it('is three tables for people', () => {
    expect(kinesisFleetAsText(seen, now)).toBe(
      `Stream transactions as application card-risk, lease table card-risk, watched for 10.0 s; shards: 2 open, 1 draining, 1 waiting, 1 finished, 2 missing, 1 past, 1 gone

shard                 state     owner      lease    counter  parents  children
shardId-000000000000  finished  one-0:abc  held           9           3
shardId-000000000001  draining  two-0:def  expired        7           4, 5
shardId-000000000002  open      one-0:abc  held           9           6
shardId-000000000003  open      nobody     free           7  0
shardId-000000000004  waiting   one-0:abc  held           9  1
shardId-000000000005  missing                                1
shardId-000000000006  past                                   2
shardId-000000000008  gone      one-0:abc  held           9
shardId-000000000009  missing

partition  checkpoint                    position                  fence  not stored           fence anchor  event time                is      said
        0  SHARD_END
        1  …000000000005:0  1,125,899,906,842,625
        2  …000000000077:3  1,125,899,906,842,668  1,125,899,906,842,654          14  1,125,899,906,842,633  2026-01-09T11:59:00.000Z  at-end  3 s ago
        3  TRIM_HORIZON
        4  TRIM_HORIZON
        8  …000000000001:0  1,125,899,906,842,625

worker     leases  expired
one-0:abc       4        0
two-0:def       1        1

How far a reader is behind the newest record: weir_behind_latest_seconds of its process; asking Kinesis would cost its readers requests.

Wants attention:
- shardId-000000000001: two-0:def has not renewed the lease (counter 7) for 10 s: it is dead or cut off. A process that lives takes the lease; if none does, there is none, or each has max_leases.
- shardId-000000000003: nobody has the lease. A process that runs takes it at its next look, within 0.8 × failover_time_ms; if none does, there is none, or each has max_leases.
- shardId-000000000005: it has no lease yet; a process that runs makes one within 60 s (shard_sync_interval_ms).
- shardId-000000000008: the stream does not have it any more, and it was not read to its end: what was left is lost.
- shardId-000000000009: it has no lease yet; a process that runs makes one within 60 s (shard_sync_interval_ms).
`,
    );
  });

  it('is one object for machines, with sequence numbers in full', () => {
    const json = kinesisFleetAsJson(seen) as { shards: object[]; workers: object[] };
    expect(json.shards[2]).toEqual({
      shard: id(2),
      partition: 2,
      state: 'open',
      parents: [],
      children: [id(6)],
      lease: {
        owner: 'one-0:abc',
        holding: 'held',
        silent_ms: 7_000,
        counter: 9,
        owner_switches: 0,
        checkpoint: { sequence: sequence(77), sub_sequence: 3 },
        fence_anchor: { number: firstNumber + 9, sequence: sequence(30) },
      },
      position: firstNumber + 44,
      fence: firstNumber + 30,
      not_stored: 14,
      frontier: { event_time: '2026-01-09T11:59:00.000Z', state: 'at-end', said_at: '2026-01-09T11:59:57.000Z' },
    });
    expect(json.workers).toEqual([
      { worker: 'one-0:abc', leases: 4, expired: 0 },
      { worker: 'two-0:def', leases: 1, expired: 1 },
    ]);
    expect(json.shards[5]).toMatchObject({ state: 'missing', lease: null, position: null });
  });

  it('says first when nobody reads, when owners were not watched, and when the store is away', () => {
    const dead = viewOf([shard(1), shard(2)], [lease(1, at(5)), lease(2, at(5), { owner: undefined })], []);
    expect(remarked(kinesisFleetAsJson(dead))).toEqual([
      ['no-workers', null],
      ['expired', id(1)],
      ['free', id(2)],
    ]);
    const [first] = view.shards;
    const unsure: KinesisFleet = {
      ...view,
      watchedMs: 12,
      shards: [{ ...first, state: 'open', holding: 'owned', position: 5, fence: 6 }],
      storeFault: new WeirError('STORE', 'Redis cannot be reached'),
    };
    expect(remarked(kinesisFleetAsJson(unsure))).toEqual([
      ['not-watched', null],
      ['state-ahead', id(0)],
      ['store-away', null],
    ]);
  });
});
