import { parseArgs } from 'node:util';
import { type Caught, type Range, runMutants, runSeeds } from './many.ts';
import { runPlan, runSeed } from './run.ts';
import type { SeedReport } from './share.ts';
import { shrink } from './shrink.ts';
import { loadSimulation } from './simulations.ts';

/**
 * `npm run sim`: runs of the whole pipeline in a simulated world, each from one seed. `--seeds N --from S --jobs J` runs many and shrinks
 * the first that fails, `--seed N` replays one with all that happens, `--mutants` looks for the seed that catches each deliberate fault.
 * `--leases` has Kinesis workers with their lease table in place of the pipeline; such runs are short, and are shown whole.
 * docs/simulation.md says how to read it.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '2' },
    seed: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    leases: { type: 'boolean', default: false },
  },
});

function whole(flag: 'seeds' | 'from' | 'jobs' | 'seed'): number {
  const value = Number(values[flag]);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${flag} wants a whole number, not ${values[flag]}`);
  return value;
}

const say = (line: string) => process.stdout.write(`${line}\n`);

const simulation = values.leases ? 'leases' : 'pipeline';

/** All that happens in one run. @returns whether it holds. */
async function replay(seed: number): Promise<boolean> {
  if (values.leases) return replayLeases(seed);
  const { plan, failure } = await runSeed(seed, { trace: say });
  say(JSON.stringify(plan.settings));
  for (const fault of plan.faults) say(JSON.stringify(fault));
  say(failure === undefined ? `seed ${seed} holds` : `seed ${seed} fails: ${failure}`);
  return failure === undefined;
}

async function replayLeases(seed: number): Promise<boolean> {
  const runSeed = await loadSimulation('leases');
  const { failure } = await runSeed(seed, { trace: say });
  say(failure === undefined ? `seed ${seed} holds` : `seed ${seed} fails: ${failure}`);
  return failure === undefined;
}

async function runAll(range: Range): Promise<boolean> {
  let done = 0;
  const startedAt = performance.now();
  const perMinute = () => Math.round((done * 60_000) / (performance.now() - startedAt));
  const failed = await runSeeds(range, ({ seed, failure }) => {
    done++;
    if (failure !== undefined) say(`seed ${seed} fails: ${failure}`);
    if (done % 1_000 === 0) say(`${done} seeds, ${perMinute()} a minute`);
  });
  say(`${done} seeds from ${range.from}, ${failed.length} failed, ${perMinute()} a minute`);
  if (failed.length > 0) await explain(failed[0]);
  return failed.length === 0;
}

/** The least that fails in the same way, with all that happens. */
async function explain({ seed }: SeedReport): Promise<void> {
  if (values.leases) {
    say(`npm run sim -- --leases --seed ${seed} shows all of it`);
    return;
  }
  const { plan, failure } = await shrink(await runSeed(seed), {});
  say(`\nseed ${seed} with as few faults and records as it takes: ${failure}`);
  await runPlan(plan, { trace: say });
  say(JSON.stringify(plan.settings));
  for (const fault of plan.faults) say(JSON.stringify(fault));
  say(`npm run sim -- --seed ${seed} shows all of it`);
}

async function catchAll(range: Range): Promise<boolean> {
  const tell = ({ mutant, report }: Caught) =>
    say(
      report === undefined ? `NOT CAUGHT: ${mutant}` : `seed ${report.seed}: ${mutant} (${firstLine(report.failure!)})`,
    );
  const all = await runMutants(range, tell);
  return all.every(({ report }) => report !== undefined);
}

const firstLine = (text: string) => text.split('\n')[0];

const range: Range = { simulation, from: whole('from'), count: whole('seeds'), jobs: whole('jobs') };
const holds = values.seed !== undefined ? replay(whole('seed')) : values.mutants ? catchAll(range) : runAll(range);
if (!(await holds)) process.exitCode = 1;
