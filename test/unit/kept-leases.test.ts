import { expect, it } from '@jest/globals';
import { keepLeases } from '../../consumers/kinesis/kept-leases.ts';
import { newLease } from '../../consumers/kinesis/lease.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { systemClock } from '../../runtime/clock.ts';
import { memoryLeaseTable } from '../../sim/leases/memory-table.ts';

const failoverMs = 10_000;
const keys = ['shardId-000000000000', 'shardId-000000000001'];

async function tableOf(): Promise<LeaseTable> {
  const table = memoryLeaseTable();
  for (const key of keys) await table.write({ kind: 'create', lease: newLease(key, { sequence: '900', sub: 2 }, []) });
  return table;
}

const keep = async (table: LeaseTable) => keepLeases(table, await table.list(), 'operator', failoverMs, systemClock);

/** As a worker that steals it. */
async function steal(table: LeaseTable, key: string): Promise<void> {
  expect(await table.write({ kind: 'take', lease: (await table.read(key))!, owner: 'worker' })).toBe(true);
}

it('puts checkpoints back, and gives the leases up', async () => {
  const table = await tableOf();
  const leases = await keep(table);
  leases.demand();
  expect((await table.list()).map(({ owner }) => owner)).toEqual(['operator', 'operator']);
  await leases.put(keys[0], { sequence: 'TRIM_HORIZON', sub: 0 }, { weirCheckpoint: '7 from 0' });
  await leases.put(keys[1], { sequence: '400', sub: 0 }, { weirCheckpoint: '8+1 at 400' });
  await leases.giveUp();
  expect(await table.list()).toMatchObject([
    { owner: undefined, checkpoint: { sequence: 'TRIM_HORIZON' }, positions: { weirCheckpoint: '7 from 0' } },
    { owner: undefined, checkpoint: { sequence: '400' }, positions: { weirCheckpoint: '8+1 at 400' } },
  ]);
});

it('takes none where one has changed since it was seen', async () => {
  const table = await tableOf();
  const seen = await table.list();
  await steal(table, keys[1]);
  await expect(keepLeases(table, seen, 'operator', failoverMs, systemClock)).rejects.toMatchObject({ code: 'FENCED' });
  expect((await table.list()).map(({ owner }) => owner)).toEqual([undefined, 'worker']);
});

it('writes nothing to a lease that a worker has taken, and demands no more once it knows', async () => {
  const table = await tableOf();
  const leases = await keep(table);
  await steal(table, keys[1]);
  await expect(leases.put(keys[1], { sequence: '400', sub: 0 }, {})).rejects.toMatchObject({ code: 'FENCED' });
  expect(() => leases.demand()).toThrow(/somebody else has the lease of shardId-000000000001/);
  await leases.giveUp();
  expect(await table.list()).toMatchObject([
    { owner: undefined, checkpoint: { sequence: '900' } },
    { owner: 'worker', checkpoint: { sequence: '900' } },
  ]);
});

it('finds out by renewing that a worker has taken one', async () => {
  const table = await tableOf();
  const leases = await keepLeases(table, await table.list(), 'operator', 100, systemClock);
  await steal(table, keys[0]);
  const isHeld = () => {
    try {
      leases.demand();
      return true;
    } catch {
      return false;
    }
  };
  while (isHeld()) await systemClock.sleep(1);
  await leases.giveUp();
  expect(await table.list()).toMatchObject([{ owner: 'worker' }, { owner: undefined }]);
});
