import { describe, expect, it } from '@jest/globals';
import type { Lease } from '../../consumers/kinesis/lease.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { noFaults } from '../../sim/leases/faulty-table.ts';
import { leaseMutants } from '../../sim/leases/mutants.ts';
import { failoverMs, type LeaseSimulation, simulateLeases } from '../../sim/leases/simulate.ts';
import { runMutants, runSeeds } from '../../sim/many.ts';

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

  const calm = { faults: noFaults, incidents: 0, shards: 6 };

  it.each(seeds)(
    'hand over what others ask for while nobody stands still, and repeat nothing, seed %i',
    async (seed) => {
      const { violations, events, repeated } = await simulateLeases({ seed, ...calm, workers: 3, askable: 10 });
      expect(violations).toEqual([]);
      expect(events.received).toBeGreaterThan(0);
      expect(events.handed).toBe(events.received);
      expect({ stolen: events.stolen ?? 0, lost: events.lost ?? 0, repeated }).toEqual({
        stolen: 0,
        lost: 0,
        repeated: 0,
      });
    },
  );

  it('lose no lease but to a stealer where nobody can be asked', async () => {
    const { violations, events } = await simulateLeases({ seed: 1, ...calm, askable: 0 });
    expect(violations).toEqual([]);
    expect(events.stolen).toBeGreaterThan(0);
    expect(events.lost ?? 0).toBe(events.stolen);
    expect(events.handed ?? 0).toBe(0);
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

  it.each(seeds.slice(0, 4))('even out what goes through the shards, and come to rest, seed %i', async (seed) => {
    const calm = { faults: noFaults, incidents: 0, workers: 2, shards: 6, troubledMs: 900_000 };
    const { violations, loads } = await simulateLeases({ seed, ...calm });
    expect(violations).toEqual([]);
    // Four shards are busy and two are idle.
    const [least, most] = [Math.min(...loads), Math.max(...loads)];
    expect(least).toBeGreaterThan(50);
    expect(most - least).toBeLessThan(0.2 * most);
  });

  it('meet every kind of event', async () => {
    const reports = await Promise.all([1, 2, 3].map((seed) => simulateLeases({ seed })));
    const met = new Set(reports.flatMap(({ events }) => Object.keys(events)));
    const kinds = [
      'deleted',
      'ended',
      'evicted',
      'expired',
      'handed',
      'lost',
      'received',
      'stolen',
      'taken',
      'trouble',
    ];
    expect([...met].sort()).toEqual(kinds);
    expect(reports.some(({ repeated }) => repeated > 0)).toBe(true);
  });
});

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

describe('many simulated fleets', () => {
  it('hold, seed by seed: npm run sim -- --leases --seed N shows one', async () => {
    expect(await runSeeds({ simulation: 'leases', from: 1, count: 60, jobs: 2 }, () => {})).toEqual([]);
  });

  it('find each deliberate fault of the lease logic', async () => {
    const caught = await runMutants({ simulation: 'leases', from: 1, count: 100, jobs: 2 }, () => {});
    expect(caught.filter(({ report }) => report === undefined).map(({ mutant }) => mutant)).toEqual([]);
    // One that only breaks the code proves nothing.
    expect(caught.filter(({ report }) => /(Reference|Type|Syntax)Error/.test(report?.failure ?? ''))).toEqual([]);
    expect(caught).toHaveLength(leaseMutants.length);
  });
});

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
