import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { WeirError } from '../../runtime/errors.ts';
import { type Checkpoint, isSequence } from './checkpoint.ts';
import type { HashRange } from './hash-range.ts';
import type { PositionTexts } from './positions.ts';

/** One shard's lease, as the Kinesis Client Library 2.x keeps it: an item of the lease table, with the shard's id for a key. */
export interface Lease {
  readonly key: string;
  /** Rises with every renewal, checkpoint and change of owner; one that stands still tells that the owner is gone. */
  readonly counter: number;
  readonly owner?: string;
  readonly checkpoint: Checkpoint;
  readonly ownerSwitches: number;
  readonly parents: readonly string[];
  /** Known once the shard has ended. */
  readonly children: readonly string[];
  /** The hash keys that go to the shard, decimal, both inclusive. */
  readonly hashRange?: HashRange;
  /** What goes through the shard, where a worker has measured it. */
  readonly throughputKBps?: number;
  /** The former owner of a lease that 3.x is handing over: until it is gone nobody else may begin. */
  readonly checkpointOwner?: string;
  /** What only weir keeps, and the library leaves as it is. */
  readonly positions?: PositionTexts;
}

export type LeaseItem = Record<string, AttributeValue>;

/** What a lease table holds beside leases since 3.x says so here; absent: a lease. */
export function isLeaseItem(item: LeaseItem): boolean {
  return (item.entityType?.S ?? 'LEASE') === 'LEASE';
}

/** @throws WeirError INPUT when the item is no lease of one stream's shard. */
export function readLease(item: LeaseItem): Lease {
  const key = item.leaseKey?.S;
  const counter = numberOf(item.leaseCounter);
  const sequence = item.checkpoint?.S;
  const sub = numberOf(item.checkpointSubSequenceNumber ?? { N: '0' });
  if (key === undefined || counter === undefined || sequence === undefined || sub === undefined) {
    throw foreign(key, 'has no leaseKey, leaseCounter or checkpoint');
  }
  if (!isSequence(sequence)) throw foreign(key, `has the checkpoint ${sequence}`);
  if (item.streamName !== undefined) throw foreign(key, `is one of several streams (${item.streamName.S})`);
  const { startingHashKey, endingHashKey } = item;
  return {
    key,
    counter,
    owner: item.leaseOwner?.S,
    checkpoint: { sequence, sub },
    ownerSwitches: numberOf(item.ownerSwitchesSinceCheckpoint) ?? 0,
    parents: item.parentShardId?.SS ?? [],
    children: item.childShardIds?.SS ?? [],
    hashRange:
      startingHashKey?.S === undefined || endingHashKey?.S === undefined
        ? undefined
        : { start: startingHashKey.S, end: endingHashKey.S },
    throughputKBps: numberOf(item.throughputKBps),
    checkpointOwner: item.checkpointOwner?.S,
    positions: positionsOf(item),
  };
}

function positionsOf({ weirCheckpoint, weirFence }: LeaseItem): PositionTexts | undefined {
  if (weirCheckpoint === undefined && weirFence === undefined) return undefined;
  return { weirCheckpoint: weirCheckpoint?.S, weirFence: weirFence?.S };
}

/** The item of a new lease. Empty values are left out: DynamoDB refuses them, and the library takes absence for none. */
export function newLeaseItem({ key, checkpoint, parents, hashRange }: Lease): LeaseItem {
  return {
    leaseKey: { S: key },
    leaseCounter: { N: '0' },
    checkpoint: { S: checkpoint.sequence },
    checkpointSubSequenceNumber: { N: String(checkpoint.sub) },
    ownerSwitchesSinceCheckpoint: { N: '0' },
    ...(parents.length > 0 && { parentShardId: { SS: [...parents] } }),
    ...(hashRange && { startingHashKey: { S: hashRange.start }, endingHashKey: { S: hashRange.end } }),
  };
}

/** A lease that nobody has had yet. */
export function newLease(
  key: string,
  checkpoint: Checkpoint,
  parents: readonly string[],
  hashRange?: HashRange,
): Lease {
  return { key, counter: 0, checkpoint, ownerSwitches: 0, parents, children: [], hashRange };
}

function numberOf(value: AttributeValue | undefined): number | undefined {
  return value?.N === undefined ? undefined : Number(value.N);
}

function foreign(key: string | undefined, why: string): WeirError {
  return new WeirError(
    'INPUT',
    `the item ${key ?? 'without a key'} of the lease table ${why}: the table is not that of one Kinesis stream's consumers; name another lease_table`,
  );
}
