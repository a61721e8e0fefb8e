import { describe, expect, it } from '@jest/globals';
import type { Lease } from '../../consumers/kinesis/lease.ts';
import { type LeaseChange, requestOf } from '../../consumers/kinesis/lease-change.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { noFaults } from './faulty-table.ts';
import { failoverMs, type LeaseSimulation, simulateLeases } from './leases.ts';

const seeds = Array.from({ length: Number(process.env.WEIR_TEST_LEASE_SEEDS || 8) }, (_, index) => index + 1);

describe('simulated fleets', () => {
  it.each(seeds)('share the shards, seed %i', async (seed) => {
    const { violations, published } = await simulateLeases({ seed });
    expect(violations).toEqual([]);
    expect(published).toBeGreaterThan(1_000);
  });

  it('do so in the same way for the same seed', async () => {
    expect(await simulateLeases({ seed: 7 })).toEqual(await simulateLeases({ seed: 7 }));
  });

  it.each(seeds.slice(0, 3))('do so over a sound network, the sooner, seed %i', async (seed) => {
    const report = await simulateLeases({ seed, faults: noFaults });
    expect(report.violations).toEqual([]);
    expect(report.longestOrphanedMs).toBeLessThanOrEqual(2 * failoverMs);
  });

  it('lose no lease but to a stealer while nobody comes, goes or stands still', async () => {
    const { violations, events } = await simulateLeases({ seed: 1, faults: noFaults, incidents: 0, shards: 6 });
    expect(violations).toEqual([]);
    expect(events.stolen).toBeGreaterThan(0);
    expect(events.lost ?? 0).toBe(events.stolen);
  });

  it.each(seeds.slice(0, 4))(
    'take the shards of a crashed worker over within failover time and 5 s, seed %i',
    async (seed) => {
      const crash = { faults: noFaults, incidents: 0, workers: 4, shards: 8, crashAtMs: 60_000 + 137 * seed };
      const { violations, longestOrphanedMs } = await simulateLeases({ seed, ...crash });
      expect(violations).toEqual([]);
      expect(longestOrphanedMs).toBeGreaterThan(0);
      expect(longestOrphanedMs).toBeLessThanOrEqual(failoverMs + 5_000);
    },
  );

  it('meet every kind of event', async () => {
    const reports = await Promise.all([1, 2, 3].map((seed) => simulateLeases({ seed })));
    const met = new Set(reports.flatMap(({ events }) => Object.keys(events)));
    expect([...met].sort()).toEqual(['deleted', 'ended', 'evicted', 'expired', 'lost', 'stolen', 'taken', 'trouble']);
    expect(reports.some(({ repeated }) => repeated > 0)).toBe(true);
  });
});

/** Makes changes whose conditions are forgotten. */
function without(condition: string, kinds: readonly LeaseChange['kind'][]): LeaseSimulation['mutateTable'] {
  return (table) => ({
    ...table,
    async write(change) {
      const request = requestOf(change);
      const expected = 'update' in request ? request.update.Expected : undefined;
      if (!kinds.includes(change.kind) || expected?.[condition] === undefined) return table.write(change);
      const found = await table.read(change.lease.key);
      // As it is now is as it is expected.
      return found !== undefined && table.write({ ...change, lease: found });
    },
  });
}

const hiding =
  (hide: (lease: Lease) => Lease): LeaseSimulation['mutateTable'] =>
  (table) => ({
    ...table,
    list: async () => (await table.list()).map(hide),
    read: async (key) => {
      const found = await table.read(key);
      return found && hide(found);
    },
  });

const mutants: readonly (readonly [string, LeaseSimulation['mutateTable'], RegExp])[] = [
  ['a checkpoint without its condition', without('leaseCounter', ['checkpoint']), /which .* owns|went back/],
  ['a renewal without its condition', without('leaseCounter', ['renew']), /made a renew of .* which .* owns/],
  ['a table that loses what it has acknowledged', forgetful, /acknowledged and is not kept|left out records/],
  [
    'children that do not know their parents',
    hiding((lease) => ({ ...lease, parents: [] })),
    /before the end of its parent/,
  ],
  ['parents that seem to have ended', hiding(ended), /before the end of its parent|left out|deleted before its end/],
  ['owners that seem to live for ever', hiding(alwaysRenewed), /read by nobody|in the end nobody reads/],
  ['taken leases that nobody may take', (table) => ({ ...table, write: refusing(table) }), /read by nobody|in the end/],
];

describe('the simulation finds out', () => {
  it.each(mutants)('%s', async (_name, mutateTable, expected) => {
    const violations: string[] = [];
    for (const seed of seeds) {
      violations.push(...(await simulateLeases({ seed, mutateTable }).then((report) => report.violations)));
      if (violations.some((violation) => expected.test(violation))) return;
    }
    expect(violations).toContainEqual(expect.stringMatching(expected));
  });
});

/** Every tenth checkpoint is acknowledged and not kept. */
function forgetful(table: LeaseTable): LeaseTable {
  let checkpoints = 0;
  return {
    ...table,
    write: async (change) => (change.kind === 'checkpoint' && ++checkpoints % 10 === 0 ? true : table.write(change)),
  };
}

function ended(lease: Lease): Lease {
  return lease.children.length > 0 || lease.parents.length > 0
    ? lease
    : { ...lease, checkpoint: { sequence: 'SHARD_END', sub: 0 } };
}

/** The counter of what somebody owns never stands still. */
function alwaysRenewed(lease: Lease): Lease {
  return lease.owner === undefined ? lease : { ...lease, counter: lease.counter + ++looks * 1_000_000 };
}
let looks = 0;

function refusing(table: LeaseTable): LeaseTable['write'] {
  return async (change) => !(change.kind === 'take' && change.lease.owner !== undefined) && table.write(change);
}
