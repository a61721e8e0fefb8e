import { expect, it } from '@jest/globals';
import { type Lease, type LeaseItem, newLease, readLease } from '../../consumers/kinesis/lease.ts';
import type { LeaseChange } from '../../consumers/kinesis/lease-change.ts';
import { workerName } from '../../consumers/kinesis/worker-name.ts';
import { memoryLeaseTable } from '../../sim/leases/memory-table.ts';
import { busyShard, bytesPerWriteUnit, itemBytes, longSequence } from '../support/lease-item.ts';

/** Of a worker whose name has so many characters. */
const owner = (characters: number) => workerName('w'.repeat(characters - 13), Buffer.alloc(6));

/** A thousand a second for a day. */
const records = 86_400_000;

/** The item of a shard that two were merged into, after a day without a pause. @param gapsAt records behind which retention was faster. */
async function itemOf(characters: number, gapsAt: readonly number[]): Promise<LeaseItem> {
  const shard = busyShard();
  for (const gap of gapsAt) {
    shard.readTo(gap);
    shard.passGap();
  }
  shard.readTo(records);
  const key = 'shardId-000000012345';
  const items = new Map<string, LeaseItem>();
  const table = memoryLeaseTable(items);
  const hashRange = { start: String(2n ** 127n), end: String(2n ** 128n - 1n) };
  const parents = ['shardId-000000012343', 'shardId-000000012344'];
  const make = async (changeOf: (lease: Lease) => LeaseChange) => {
    expect(await table.write(changeOf(readLease(items.get(key)!)))).toBe(true);
  };
  await table.write({
    kind: 'create',
    lease: newLease(key, { sequence: 'TRIM_HORIZON', sub: 0 }, parents, hashRange),
  });
  await make((lease) => ({ kind: 'take', lease, owner: owner(characters) }));
  await make((lease) => ({
    kind: 'checkpoint',
    lease,
    checkpoint: { sequence: longSequence(records), sub: 99 },
    positions: shard.positions(),
    throughputKBps: 1234.5678901234567,
  }));
  return { ...items.get(key), leaseCounter: { N: '1234567' } };
}

it.each([
  ['without a gap, with a name of 128 characters', 128, []],
  ['with a gap, with a name of 64 characters', 64, [5_000_000]],
])('the lease of a busy shard takes one write unit %s', async (_, characters, gapsAt) => {
  expect(itemBytes(await itemOf(characters, gapsAt))).toBeLessThanOrEqual(bytesPerWriteUnit);
});
