import { beforeEach, describe, expect, it } from '@jest/globals';
import { newLease } from '../../consumers/kinesis/lease.ts';
import { changed, type LeaseChange } from '../../consumers/kinesis/lease-change.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';

const hashRange = { start: '0', end: '340282366920938463463374607431768211455' };
const shard = newLease(
  'shardId-000000000003',
  { sequence: 'TRIM_HORIZON', sub: 0 },
  ['shardId-000000000001'],
  hashRange,
);

/** What the port promises, whatever the adapter. @param open gives an empty table. */
export function describeLeaseTableContract(name: string, open: () => Promise<LeaseTable>): void {
  describe(`${name} keeps the lease table contract`, () => {
    let table: LeaseTable;
    beforeEach(async () => {
      table = await open();
    });

    const lease = () => table.read(shard.key);

    it('is empty at first', async () => {
      expect(await table.list()).toEqual([]);
      expect(await lease()).toBeUndefined();
    });

    it('creates a lease once', async () => {
      expect(await table.write({ kind: 'create', lease: shard })).toBe(true);
      expect(await table.write({ kind: 'create', lease: { ...shard, parents: [] } })).toBe(false);
      expect(await lease()).toEqual(shard);
      expect(await table.list()).toEqual([shard]);
    });

    it('makes each change as `changed` says, and then expects it', async () => {
      await table.write({ kind: 'create', lease: shard });
      let now = shard;
      const steps: ((lease: typeof shard) => LeaseChange)[] = [
        (lease) => ({ kind: 'take', lease, owner: 'one' }),
        (lease) => ({ kind: 'renew', lease }),
        (lease) => ({ kind: 'take', lease, owner: 'two' }),
        (lease) => ({ kind: 'give', lease, owner: 'three' }),
        (lease) => ({ kind: 'renew', lease, throughputKBps: 12.5 }),
        (lease) => ({ kind: 'checkpoint', lease, checkpoint: { sequence: '4968', sub: 7 } }),
        (lease) => ({
          kind: 'checkpoint',
          lease,
          checkpoint: { sequence: '4968', sub: 8 },
          positions: { weirCheckpoint: '7+1:E2g', weirFence: '7+1!:E2g' },
        }),
        (lease) => ({ kind: 'children', lease, children: ['shardId-000000000005'] }),
        (lease) => ({ kind: 'checkpoint', lease, checkpoint: { sequence: 'SHARD_END', sub: 0 } }),
        (lease) => ({ kind: 'evict', lease }),
      ];
      for (const step of steps) {
        expect(await table.write(step(now))).toBe(true);
        now = changed(step(now));
        expect(await lease()).toEqual(now);
      }
      expect(await table.write({ kind: 'delete', lease: now })).toBe(true);
      expect(await lease()).toBeUndefined();
      expect(await table.write({ kind: 'delete', lease: now })).toBe(true);
    });

    it('refuses changes to a lease that is not as expected any more', async () => {
      await table.write({ kind: 'create', lease: shard });
      const taken = changed({ kind: 'take', lease: shard, owner: 'one' });
      await table.write({ kind: 'take', lease: shard, owner: 'one' });
      await table.write({ kind: 'take', lease: taken, owner: 'two' });
      const before = await lease();
      const late: LeaseChange[] = [
        { kind: 'take', lease: shard, owner: 'three' },
        { kind: 'take', lease: taken, owner: 'three' },
        { kind: 'renew', lease: taken },
        { kind: 'checkpoint', lease: taken, checkpoint: { sequence: '1', sub: 0 } },
        { kind: 'evict', lease: taken },
      ];
      for (const change of late) expect(await table.write(change)).toBe(false);
      expect(await lease()).toEqual(before);
    });

    it('refuses changes to a lease that is gone, and makes none of them', async () => {
      const taken = changed({ kind: 'take', lease: shard, owner: 'one' });
      expect(await table.write({ kind: 'renew', lease: taken })).toBe(false);
      expect(await table.write({ kind: 'children', lease: taken, children: ['a'] })).toBe(false);
      expect(await table.write({ kind: 'evict', lease: taken })).toBe(false);
      expect(await table.list()).toEqual([]);
    });

    it('lets one of many win', async () => {
      await table.write({ kind: 'create', lease: shard });
      const owners = Array.from({ length: 20 }, (_, index) => `worker-${index}`);
      const won = await Promise.all(owners.map((owner) => table.write({ kind: 'take', lease: shard, owner })));
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(await lease()).toMatchObject({ owner: owners[won.indexOf(true)], counter: 1 });
    });
  });
}
