import { Command, CommanderError } from 'commander';
import { exitCodeOf, exitCodes } from '../cli/exit-codes.ts';
import { wholeNumber } from '../cli/whole-number.ts';
import { describeError, WeirError } from '../runtime/errors.ts';
import { type Caught, type Range, runMutants, runSeeds } from './many.ts';
import { runPlan, runSeed } from './run.ts';
import type { SeedReport } from './share.ts';
import { shrink } from './shrink.ts';
import { loadSimulation, type Simulation } from './simulations.ts';

interface Flags {
  readonly seeds: string;
  readonly from: string;
  readonly jobs: string;
  readonly seed?: string;
  readonly mutants?: boolean;
  readonly leases?: boolean;
}

const largestSeed = 2 ** 31 - 1;

const examples = `
Examples:
  $ npm run sim -- --seeds 10000           seeds 1 to 10,000; the first that fails is shrunk and shown
  $ npm run sim -- --seed 7                all that happens in one run
  $ npm run sim -- --mutants --seeds 60    which seed catches each deliberate fault

Ends with 1 when something does not hold, or a deliberate fault goes unnoticed. docs/simulation.md says how to read it.`;

const say = (line: string) => process.stdout.write(`${line}\n`);

/** All that happens in one run. @returns whether it holds. */
async function replay(simulation: Simulation, seed: number): Promise<boolean> {
  if (simulation === 'leases') return replayLeases(seed);
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
  if (failed.length > 0) await explain(range.simulation, failed[0]);
  return failed.length === 0;
}

/** The least that fails in the same way, with all that happens. */
async function explain(simulation: Simulation, { seed }: SeedReport): Promise<void> {
  if (simulation === 'leases') {
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

async function simulate(flags: Flags): Promise<void> {
  const { seed, mutants } = flags;
  const simulation: Simulation = flags.leases ? 'leases' : 'pipeline';
  const from = wholeNumber('--from', flags.from, 0, largestSeed);
  const count = wholeNumber('--seeds', flags.seeds, 1, largestSeed - from + 1);
  const range = { simulation, from, count, jobs: wholeNumber('--jobs', flags.jobs, 1, 64) };
  if (seed !== undefined && mutants) throw new WeirError('CONFIG', '--seed does not go with --mutants: use --from');
  const one = seed === undefined ? undefined : wholeNumber('--seed', seed, 0, largestSeed);
  const holds = one !== undefined ? replay(simulation, one) : mutants ? catchAll(range) : runAll(range);
  if (!(await holds)) process.exitCode = 1;
}

const program = new Command('npm run sim --')
  .description(
    'Runs the whole pipeline, or the leases of a Kinesis stream, in a simulated world, each run from one seed.',
  )
  .option('--seeds <n>', 'how many seeds', '1000')
  .option('--from <seed>', 'the first', '1')
  .option('--jobs <n>', 'threads', '2')
  .option('--seed <seed>', 'run this one only, and show all that happens')
  .option('--mutants', 'put deliberate faults into the code, one at a time, and look for the seed that catches each')
  .option('--leases', 'Kinesis workers with their lease table in place of the pipeline')
  .allowExcessArguments(false)
  .addHelpText('after', examples)
  .showHelpAfterError('(--help lists the options)')
  .exitOverride()
  .action(simulate);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitCodes.CONFIG;
  else {
    process.stderr.write(`sim: ${error instanceof WeirError ? error.message : describeError(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
