import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { runPlan, runSeed } from './run.ts';
import type { SeedReport, Share } from './share.ts';
import { shrink } from './shrink.ts';

/**
 * `npm run sim`: runs of the whole pipeline in a simulated world, each from one seed. `--seeds N --from S --jobs J` runs many and shrinks
 * the first that fails, `--seed N` replays one with all that happens. docs/simulation.md says how to read it.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '2' },
    seed: { type: 'string' },
  },
});

function whole(flag: 'seeds' | 'from' | 'jobs' | 'seed'): number {
  const value = Number(values[flag]);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${flag} wants a whole number, not ${values[flag]}`);
  return value;
}

const say = (line: string) => process.stdout.write(`${line}\n`);

/** All that happens in one run. @returns whether it failed. */
async function replay(seed: number): Promise<boolean> {
  const { plan, failure } = await runSeed(seed, { trace: say });
  say(JSON.stringify(plan.settings));
  for (const fault of plan.faults) say(JSON.stringify(fault));
  say(failure === undefined ? `seed ${seed} holds` : `seed ${seed} fails: ${failure}`);
  return failure !== undefined;
}

/** @returns what failed, the least seed first. */
async function runAll(from: number, count: number, jobs: number): Promise<SeedReport[]> {
  const failed: SeedReport[] = [];
  let done = 0;
  const startedAt = performance.now();
  const perMinute = () => Math.round((done * 60_000) / (performance.now() - startedAt));
  const shares = Array.from({ length: jobs }, (_, job) => {
    const workerData: Share = { from: from + job, to: from + count, step: jobs };
    const worker = new Worker(new URL('./share.ts', import.meta.url), { workerData });
    return new Promise<void>((resolve, reject) => {
      worker.on('message', (report: SeedReport) => {
        done++;
        if (done % 1_000 === 0) say(`${done} seeds, ${failed.length} failed, ${perMinute()} a minute`);
        if (report.failure === undefined) return;
        failed.push(report);
        say(`seed ${report.seed} fails: ${report.failure}`);
      });
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
  });
  await Promise.all(shares);
  say(`${done} seeds from ${from}, ${failed.length} failed, ${perMinute()} a minute`);
  return failed.sort((a, b) => a.seed - b.seed);
}

async function explain({ seed }: SeedReport): Promise<void> {
  const least = await shrink(await runSeed(seed), {});
  const { plan, failure } = least;
  say(`\nseed ${seed} with as few faults and records as it takes: ${failure}`);
  const lines: string[] = [];
  await runPlan(plan, { trace: (line) => lines.push(line) });
  for (const line of lines) say(line);
  say(JSON.stringify(plan.settings));
  for (const fault of plan.faults) say(JSON.stringify(fault));
  say(`npm run sim -- --seed ${seed} shows all of it`);
}

if (values.seed !== undefined) {
  if (await replay(whole('seed'))) process.exitCode = 1;
} else {
  const failed = await runAll(whole('from'), whole('seeds'), whole('jobs'));
  if (failed.length > 0) {
    await explain(failed[0]);
    process.exitCode = 1;
  }
}
