import { describe, expect, it } from '@jest/globals';
import { runMutants, runSeeds } from '../../sim/many.ts';
import { mutants } from '../../sim/mutants.ts';
import { planRun } from '../../sim/plan.ts';
import { runPlan, runSeed } from '../../sim/run.ts';

const first = 1;
const seeds = 1_000;

async function traced(seed: number): Promise<string[]> {
  const lines: string[] = [];
  await runSeed(seed, { trace: (line) => lines.push(line) });
  return lines;
}

describe('the simulation', () => {
  it('does the same again for the same seed, to the last line', async () => {
    for (const seed of [3, 6, 17]) {
      const lines = await traced(seed);
      expect(lines.length).toBeGreaterThan(100);
      expect(await traced(seed)).toEqual(lines);
    }
  });

  it('has faults of every kind within the seeds that are run', () => {
    const kinds = new Set<string>();
    const ports = new Set<string>();
    for (let seed = first; seed < first + seeds; seed++) {
      for (const fault of planRun(seed).faults) {
        if (fault.at === 'request') ports.add(fault.port);
        if (fault.at === 'request') kinds.add(fault.fault.kind);
        else kinds.add(fault.at === 'time' ? fault.event.kind : fault.at);
      }
    }
    expect([...kinds].sort()).toEqual([
      ...[
        'answer-lost',
        'crash',
        'flushed',
        'grow',
        'kill',
        'overtaken',
        'pause',
        'rebalance',
        'redis-away',
        'redis-fail-over',
        'redis-restart',
      ],
      ...['request-late', 'request-lost', 'reset-offset', 'retention', 'retention-unread', 'slow', 'stop'],
    ]);
    expect(ports.size).toBe(17);
  });

  it('notices when something does not happen', async () => {
    const plan = planRun(1);
    const { failure } = await runPlan(
      { ...plan, faults: [] },
      {
        alter: (of) => ({
          ...of,
          sink: (sink) => ({ ...sink, open: () => Promise.reject(new Error('never opens')) }),
        }),
      },
    );
    expect(failure).toContain('never opens');
  });

  it(`holds for ${seeds} seeds from ${first}: npm run sim -- --seed N shows one`, async () => {
    expect(await runSeeds({ simulation: 'pipeline', from: first, count: seeds, jobs: 2 }, () => {})).toEqual([]);
  }, 600_000);

  it('holds for seeds that have found a fault of weir', async () => {
    // Without the store, another partition took away the mark of what one had not read; what was cut in a recovery counted as never scored;
    // what came back into memory lacked what had not been stored of it, and did not say so;
    // a flush that failed while a batch waited for its turn let go of what the store did not have.
    for (const seed of [1137, 1240, 1783, 2104, 7905])
      expect(await runSeed(seed)).toMatchObject({ failure: undefined });
  });

  it('finds all deliberate faults within 60 seeds, rare ones from where they are known to show', async () => {
    const caught = await runMutants({ simulation: 'pipeline', from: first, count: 60, jobs: 2 }, () => {});
    expect(caught.filter(({ report }) => report === undefined).map(({ mutant }) => mutant)).toEqual([]);
    // One that only breaks the code proves nothing.
    expect(caught.filter(({ report }) => /(Reference|Type|Syntax)Error/.test(report?.failure ?? ''))).toEqual([]);
    expect(caught).toHaveLength(mutants.length);
    expect(mutants.length).toBeGreaterThanOrEqual(15);
  }, 600_000);
});
