import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { wholeNumber } from '../cli/whole-number.ts';
import { seededRandom } from '../runtime/random.ts';
import type { Member } from '../test/chaos/fleet.ts';
import { startGround } from '../test/chaos/ground.ts';
import { inputRecords } from '../test/chaos/input.ts';
import { createJob, type Job } from '../test/chaos/job.ts';
import { type Load, startLoad } from '../test/chaos/load.ts';
import { runCommand } from '../test/support/command.ts';
import { judge, type Sample, type Verdict } from './soak-verdict.ts';

/** `npm run soak`: one process under steady load; docs/benchmarks.md says what is judged. Exit code 1 when something has grown. */
interface Flags {
  readonly minutes: string;
  readonly rate?: string;
}

const name = 'soak';
const partitions = 4;
/** Of what the process can do, where no rate is given. */
const share = 0.8;
const lookMs = 5_000;
/** As long as it takes to have enough samples for a verdict. */
const leastMinutes = 4;
const longestMinutes = 10_080;
const mostPerSecond = 100_000;
/** So many that windows and caches have filled long before the warm-up ends. */
const customers = 3_000;
const seed = 1;

const examples = `
Standard output has one JSON line: medians of the first and of the last third of the time after the warm-up, how many
MiB an hour memory grows in it, and what grew more than it may. Without --rate the load is ${100 * share} % of what the process can do here beside its services.

Examples:
  $ npm run soak
  $ npm run soak -- --minutes 480 --rate 5000`;

async function soak(flags: Flags): Promise<void> {
  const minutes = wholeNumber('--minutes', flags.minutes, leastMinutes, longestMinutes);
  const rate = flags.rate === undefined ? undefined : wholeNumber('--rate', flags.rate, 1, mostPerSecond);
  const ground = await startGround({ brokers: 1, store: 'empty' });
  try {
    const job = await createJob(ground, { name, partitions, settings: { alignment: false } });
    try {
      const { perSecond, samples } = await runUnderLoad(job, minutes, rate);
      const verdict = judge(samples);
      process.stdout.write(
        `${JSON.stringify({ name, minutes, perSecond, samples: samples.length, ...rounded(verdict) })}\n`,
      );
      for (const breach of verdict.breaches) process.stderr.write(`${breach}\n`);
      process.exitCode = verdict.breaches.length === 0 ? 0 : 1;
    } finally {
      await job.close();
    }
  } finally {
    await ground.stop();
  }
}

async function runUnderLoad(
  job: Job,
  minutes: number,
  rate: number | undefined,
): Promise<{ readonly perSecond: number; readonly samples: readonly Sample[] }> {
  const records = inputRecords(seed, customers, seededRandom(seed));
  const start = (perSecond: number): Load =>
    startLoad(job.ground.cluster.brokers, job.topics.input, records, { perSecond, partitions });
  const member = await job.fleet.start();
  const perSecond = rate ?? Math.floor(share * (await capacity(job, start)));
  process.stderr.write(`${perSecond} records per second for ${minutes} minutes\n`);
  const load = start(perSecond);
  try {
    return { perSecond, samples: await watch(member, minutes) };
  } finally {
    await load.stop();
  }
}

/** Records per second that the process gets through while more than that are sent. */
async function capacity({ dealtWith, caughtUp }: Job, start: (perSecond: number) => Load): Promise<number> {
  const load = start(25_000);
  await delay(20_000);
  const [before, startedAt] = [await dealtWith(), performance.now()];
  await delay(30_000);
  const perSecond = ((await dealtWith()) - before) / ((performance.now() - startedAt) / 1000);
  await load.stop();
  await caughtUp();
  return perSecond;
}

async function watch(member: Member, minutes: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  const startedAt = performance.now();
  for (const end = startedAt + minutes * 60_000; performance.now() < end; ) {
    await delay(lookMs);
    const [resident, heap, handles, timers, lag] = await Promise.all([
      member.metric('process_resident_memory_bytes'),
      member.metric('nodejs_heap_size_used_bytes'),
      member.metric('nodejs_active_handles_total'),
      member.metric('nodejs_active_resources', 'type="Timeout"'),
      member.metric('weir_lag_records'),
    ]);
    const [residentMiB, heapMiB] = [resident / 2 ** 20, heap / 2 ** 20];
    samples.push({ atMs: performance.now() - startedAt, residentMiB, heapMiB, handles, timers, lag });
  }
  return samples;
}

function rounded({ residentMiBPerHour, heapMiBPerHour, breaches, ...changes }: Verdict): object {
  const whole = Object.entries(changes).map(([what, change]) => [what, change.map(Math.round)]);
  const slopes = {
    residentMiBPerHour: Math.round(residentMiBPerHour),
    heapMiBPerHour: Math.round(heapMiBPerHour),
  };
  return { ...Object.fromEntries(whole), ...slopes, breaches };
}

const command = new Command('soak')
  .description('Puts one process under steady load, and holds what grows against what may.')
  .option('--minutes <n>', `how long, ${leastMinutes} at least`, '10')
  .option('--rate <per-second>', 'records sent')
  .addHelpText('after', examples)
  .action(soak);
await runCommand(command);
