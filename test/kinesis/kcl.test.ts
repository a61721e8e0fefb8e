import { describe, expect, it } from '@jest/globals';
import { isLeaseItem, type Lease, type LeaseItem, readLease } from '../../consumers/kinesis/lease.ts';
import { changed, type LeaseChange, requestOf } from '../../consumers/kinesis/lease-change.ts';
import { memoryLeaseTable } from '../../sim/leases/memory-table.ts';
import { type KclRequest, kclRequests, kclStages } from '../support/kcl.ts';

type Request = KclRequest['request'];

/** The lease as the library had seen it when it sent the request: what it expects, with what its updates keep. */
function leaseBefore({ Key, Expected = {}, AttributeUpdates = {} }: Request): Lease {
  const hashRange = {
    start: AttributeUpdates.startingHashKey?.Value?.S,
    end: AttributeUpdates.endingHashKey?.Value?.S,
  };
  return {
    key: Key!.leaseKey.S!,
    counter: Number(Expected.leaseCounter?.Value?.N ?? 0),
    owner: Expected.leaseOwner?.Value?.S ?? (AttributeUpdates.ownerSwitchesSinceCheckpoint && 'the former owner'),
    checkpoint: { sequence: 'TRIM_HORIZON', sub: 0 },
    ownerSwitches: 0,
    parents: [],
    children: [],
    hashRange: hashRange.start === undefined ? undefined : { start: hashRange.start, end: hashRange.end! },
  };
}

/** The same change as weir's; undefined for what weir does not do. */
function changeOf(request: Request): LeaseChange | undefined {
  const { Expected = {}, AttributeUpdates: updates, Item } = request;
  if (Item?.leaseCounter !== undefined) return { kind: 'create', lease: { ...readLease(Item), counter: 0 } };
  if (updates === undefined) return undefined;
  const lease = leaseBefore(request);
  if (updates.checkpoint !== undefined) {
    const { checkpoint, checkpointSubSequenceNumber: sub } = updates;
    return { kind: 'checkpoint', lease, checkpoint: { sequence: checkpoint.Value!.S!, sub: Number(sub.Value!.N) } };
  }
  if (updates.childShardIds !== undefined)
    return { kind: 'children', lease, children: updates.childShardIds.Value!.SS! };
  if (Expected.leaseOwner !== undefined) return undefined;
  if (updates.leaseOwner !== undefined) return { kind: 'take', lease, owner: updates.leaseOwner.Value!.S! };
  const throughput = updates.throughputKBps?.Value?.N;
  return { kind: 'renew', lease, throughputKBps: throughput === undefined ? undefined : Number(throughput) };
}

/** Fleets that weir shares a table with. */
const shared = ['2.7.2', '3.5.1-phase1'];

describe('requests', () => {
  const ours = kclRequests
    .filter(({ version }) => shared.includes(version))
    .flatMap(({ version, request }) => {
      const change = changeOf(request);
      return change === undefined ? [] : [{ version, request, change }];
    });

  it('cover every change but eviction and deletion, from both versions', () => {
    for (const version of shared) {
      const kinds = new Set(ours.filter((one) => one.version === version).map(({ change }) => change.kind));
      expect([...kinds].sort()).toEqual(['checkpoint', 'children', 'create', 'renew', 'take']);
    }
  });

  it.each(ours.map((one) => [`${one.version} ${one.change.kind}`, one] as const))(
    '%s',
    (_name, { version, request, change }) => {
      const { TableName: _, ReturnValuesOnConditionCheckFailure: __, ...theirs } = request as Record<string, unknown>;
      const expected = structuredClone(theirs) as Request;
      // 2.x knows no hand-over; ending one is what 3.x does in the same place, and nothing where there is none.
      if (version === '2.7.2' && change.kind === 'take')
        expected.AttributeUpdates!.checkpointOwner = { Action: 'DELETE' };
      // 3.x renews a lease that it hands over without this condition; weir never holds one.
      if (change.kind === 'renew') expected.Expected!.checkpointOwner = { Exists: false };
      // The kind of entity is 3.5's to write; it takes an item without one for a lease, and 2.x does not know it.
      if (change.kind === 'create') delete expected.Item!.entityType;
      const [sent] = Object.values(requestOf(change));
      expect(sent).toEqual(expected);
    },
  );

  it('hand a lease over as it would be taken', () => {
    const takes = ours.filter(({ change }) => change.kind === 'take');
    for (const { change } of takes)
      expect(requestOf({ ...change, kind: 'give' } as LeaseChange)).toEqual(requestOf(change));
    expect(takes.length).toBeGreaterThan(0);
  });

  it('delete a lease without a condition', () => {
    const theirs = kclRequests.find(({ operation }) => operation === 'DeleteItem')!.request;
    const lease = leaseBefore(theirs);
    expect(requestOf({ kind: 'delete', lease })).toEqual({ delete: { Key: theirs.Key } });
  });

  it('evict with the conditions of an assignment', () => {
    const theirs = kclRequests.find(
      ({ version, request }) =>
        version === '3.5.1-3x' &&
        request.Expected?.leaseOwner?.Value !== undefined &&
        request.AttributeUpdates?.leaseCounter?.Action === 'ADD' &&
        request.Expected.checkpointOwner?.Exists === false,
    )!.request;
    const sent = requestOf({ kind: 'evict', lease: leaseBefore(theirs) });
    expect(sent).toEqual({
      update: {
        Key: theirs.Key,
        Expected: theirs.Expected,
        AttributeUpdates: {
          leaseOwner: { Action: 'DELETE' },
          checkpointOwner: theirs.AttributeUpdates!.checkpointOwner,
          leaseCounter: theirs.AttributeUpdates!.leaseCounter,
        },
      },
    });
  });
});

describe('items of real fleets', () => {
  const leases = kclStages
    .filter(({ version }) => shared.includes(version))
    .flatMap(({ version, stage, items }) =>
      items.map((item) => ({ name: `${version} ${stage} ${item.leaseKey.S}`, item })),
    );

  it('are many', () => expect(leases.length).toBeGreaterThan(40));

  it('are read to the last attribute, in every mode', () => {
    const known = new Set([
      'leaseKey',
      'leaseCounter',
      'leaseOwner',
      'checkpoint',
      'checkpointSubSequenceNumber',
      'ownerSwitchesSinceCheckpoint',
      'parentShardId',
      'childShardIds',
      'startingHashKey',
      'endingHashKey',
      'throughputKBps',
      'checkpointOwner',
      'entityType',
    ]);
    const all = kclStages.flatMap(({ items }) => items).filter(isLeaseItem);
    for (const item of all) {
      expect(Object.keys(item).filter((name) => !known.has(name))).toEqual([]);
      const lease = readLease(item);
      expect(lease).toEqual({
        key: item.leaseKey.S,
        counter: Number(item.leaseCounter.N),
        owner: item.leaseOwner?.S,
        checkpoint: { sequence: item.checkpoint.S, sub: Number(item.checkpointSubSequenceNumber.N) },
        ownerSwitches: Number(item.ownerSwitchesSinceCheckpoint.N),
        parents: item.parentShardId?.SS ?? [],
        children: item.childShardIds?.SS ?? [],
        hashRange: { start: item.startingHashKey.S, end: item.endingHashKey.S },
        throughputKBps: item.throughputKBps && Number(item.throughputKBps.N),
        checkpointOwner: item.checkpointOwner?.S,
      });
    }
  });

  it.each(leases)('$name: taken over, checkpointed and given up, the library goes on', async ({ item }) => {
    const items = new Map<string, LeaseItem>([[item.leaseKey.S!, structuredClone(item)]]);
    const table = memoryLeaseTable(items);
    const now = () => items.get(item.leaseKey.S!)!;
    let lease = readLease(item);
    const make = async (change: LeaseChange) => {
      expect(await table.write(change)).toBe(true);
      lease = changed(change);
      expect(readLease(now())).toEqual(lease);
    };
    const counter = Number(item.leaseCounter.N);
    const { leaseOwner, ...unowned } = item;

    await make({ kind: 'take', lease, owner: 'weir-1' });
    expect(now()).toEqual({
      ...item,
      leaseOwner: { S: 'weir-1' },
      leaseCounter: { N: String(counter + 1) },
      ownerSwitchesSinceCheckpoint: { N: String(Number(item.ownerSwitchesSinceCheckpoint.N) + (leaseOwner ? 1 : 0)) },
    });
    await make({ kind: 'renew', lease });
    await make({
      kind: 'checkpoint',
      lease,
      checkpoint: { sequence: '49999999999999999999999999999999999999999999999999999999', sub: 3 },
    });
    await make({ kind: 'evict', lease });
    // Nothing is lost, nothing is added: the next worker, Java or not, finds an ownerless lease with a later checkpoint.
    expect(now()).toEqual({
      ...unowned,
      leaseCounter: { N: String(counter + 4) },
      ownerSwitchesSinceCheckpoint: { N: '0' },
      checkpoint: { S: '49999999999999999999999999999999999999999999999999999999' },
      checkpointSubSequenceNumber: { N: '3' },
    });
    // Its former Java owner, should it still live, renews with the counter that it knows, and learns that the lease is lost.
    expect(await table.write({ kind: 'renew', lease: readLease(item) })).toBe(false);
  });
});
