import type {
  AttributeValue,
  AttributeValueUpdate,
  DeleteItemCommandInput,
  ExpectedAttributeValue,
  PutItemCommandInput,
  UpdateItemCommandInput,
} from '@aws-sdk/client-dynamodb';
import type { Checkpoint } from './checkpoint.ts';
import { type Lease, newLeaseItem } from './lease.ts';
import type { PositionTexts } from './positions.ts';

/**
 * All that can be done to a lease. `lease` is how it was last seen: a change is made only if it still is so, as far as the Kinesis
 * Client Library asks for it.
 */
export type LeaseChange =
  /** Writes a new lease, unless there is one. */
  | { readonly kind: 'create'; readonly lease: Lease }
  /** Makes `owner` the owner, whoever was it. */
  | { readonly kind: 'take'; readonly lease: Lease; readonly owner: string }
  /** Its owner makes another worker the owner. */
  | { readonly kind: 'give'; readonly lease: Lease; readonly owner: string }
  /** Says that the owner lives. */
  | { readonly kind: 'renew'; readonly lease: Lease; readonly throughputKBps?: number }
  | {
      readonly kind: 'checkpoint';
      readonly lease: Lease;
      readonly checkpoint: Checkpoint;
      readonly positions?: PositionTexts;
      readonly throughputKBps?: number;
    }
  /** Gives the lease up, so that the next worker need not wait for its expiry. */
  | { readonly kind: 'evict'; readonly lease: Lease }
  /** Notes what shards follow. The counter is neither asked for nor raised. */
  | { readonly kind: 'children'; readonly lease: Lease; readonly children: readonly string[] }
  | { readonly kind: 'delete'; readonly lease: Lease };

/** A request without its table. */
export type LeaseRequest =
  | { readonly put: Omit<PutItemCommandInput, 'TableName'> }
  | { readonly update: Omit<UpdateItemCommandInput, 'TableName'> }
  | { readonly delete: Omit<DeleteItemCommandInput, 'TableName'> };

type Expected = Record<string, ExpectedAttributeValue>;
type Updates = Record<string, AttributeValueUpdate>;

/**
 * The request that carries out the change: the same conditions and updates as the library's own, in the same older form (Expected and
 * AttributeUpdates), so that one can be held against the other word by word.
 */
export function requestOf(change: LeaseChange): LeaseRequest {
  const { lease } = change;
  const counter: Expected = { leaseCounter: { Value: count(lease.counter) } };
  const raised: Updates = { leaseCounter: put(count(lease.counter + 1)) };
  switch (change.kind) {
    case 'create':
      return { put: { Item: newLeaseItem(lease), Expected: { leaseKey: { Exists: false } } } };
    case 'take':
    case 'give':
      return update(lease, counter, {
        ...raised,
        leaseOwner: put({ S: change.owner }),
        checkpointOwner: remove,
        ...(lease.owner !== undefined && lease.owner !== change.owner && { ownerSwitchesSinceCheckpoint: add(1) }),
      });
    case 'renew':
      return update(
        lease,
        { ...counter, checkpointOwner: { Exists: false } },
        {
          ...raised,
          ...throughput(change),
        },
      );
    case 'checkpoint':
      return update(lease, counter, {
        ...raised,
        checkpoint: put({ S: change.checkpoint.sequence }),
        checkpointSubSequenceNumber: put(count(change.checkpoint.sub)),
        ownerSwitchesSinceCheckpoint: put(count(0)),
        pendingCheckpoint: remove,
        pendingCheckpointSubSequenceNumber: remove,
        pendingCheckpointState: remove,
        ...(lease.hashRange && {
          startingHashKey: put({ S: lease.hashRange.start }),
          endingHashKey: put({ S: lease.hashRange.end }),
        }),
        ...text('weirCheckpoint', change.positions?.weirCheckpoint),
        ...text('weirFence', change.positions?.weirFence),
        ...throughput(change),
      });
    case 'evict':
      return update(
        lease,
        {
          ...exists(lease),
          ...matches('leaseOwner', lease.owner),
          ...matches('checkpointOwner', lease.checkpointOwner),
        },
        { leaseOwner: remove, checkpointOwner: remove, leaseCounter: add(1) },
      );
    case 'children':
      return update(lease, exists(lease), { childShardIds: put({ SS: [...change.children] }) });
    case 'delete':
      return { delete: { Key: keyOf(lease) } };
  }
}

/** The lease as it is once the change is made. */
export function changed(change: LeaseChange): Lease {
  const { lease } = change;
  const raised = { ...lease, counter: lease.counter + 1 };
  switch (change.kind) {
    case 'create':
    case 'delete':
      return lease;
    case 'take':
    case 'give': {
      const isSwitch = lease.owner !== undefined && lease.owner !== change.owner;
      const ownerSwitches = lease.ownerSwitches + Number(isSwitch);
      return { ...raised, owner: change.owner, checkpointOwner: undefined, ownerSwitches };
    }
    case 'renew':
      return { ...raised, throughputKBps: change.throughputKBps ?? lease.throughputKBps };
    case 'checkpoint':
      return {
        ...raised,
        checkpoint: change.checkpoint,
        ownerSwitches: 0,
        positions: change.positions === undefined ? lease.positions : { ...lease.positions, ...change.positions },
        throughputKBps: change.throughputKBps ?? lease.throughputKBps,
      };
    case 'evict':
      return { ...raised, owner: undefined, checkpointOwner: undefined };
    case 'children':
      return { ...lease, children: change.children };
  }
}

function update({ key }: Lease, Expected: Expected, AttributeUpdates: Updates): LeaseRequest {
  return { update: { Key: { leaseKey: { S: key } }, Expected, AttributeUpdates } };
}

function keyOf({ key }: Lease): Record<string, AttributeValue> {
  return { leaseKey: { S: key } };
}

function exists({ key }: Lease): Expected {
  return { leaseKey: { Value: { S: key }, Exists: true } };
}

function matches(name: string, value: string | undefined): Expected {
  return { [name]: value === undefined ? { Exists: false } : { Value: { S: value } } };
}

const count = (value: number): AttributeValue.NMember => ({ N: String(value) });
const put = (Value: AttributeValue): AttributeValueUpdate => ({ Action: 'PUT', Value });
const add = (value: number): AttributeValueUpdate => ({ Action: 'ADD', Value: count(value) });
const text = (name: string, S: string | undefined): Updates => (S === undefined ? {} : { [name]: put({ S }) });
/** Where it is known. An attribute of 3.x, which 2.x leaves as it is. */
const throughput = ({ throughputKBps }: { readonly throughputKBps?: number }): Updates =>
  throughputKBps === undefined ? {} : { throughputKBps: put({ N: String(throughputKBps) }) };
const remove: AttributeValueUpdate = { Action: 'DELETE' };
