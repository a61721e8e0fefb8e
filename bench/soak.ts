import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { seededRandom } from '../runtime/random.ts';
import type { Member } from '../test/chaos/fleet.ts';
import { startGround } from '../test/chaos/ground.ts';
import { inputRecords } from '../test/chaos/input.ts';
import { createJob, type Job } from '../test/chaos/job.ts';
import { type Load, startLoad } from '../test/chaos/load.ts';

/**
 * `npm run soak`: one process under steady load, by default at 80 % of what it can do here, beside broker, Redis and load. Prints a JSON
 * line: how resident memory moves (a line fitted to what comes after the warm-up), and how many handles and timers there are.
 */
const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, rate: { type: 'string', default: '0' } },
});
const minutes = Number(values.minutes);
const name = 'soak';
const partitions = 4;
const share = 0.8;
const warmUpShare = 0.3;
const lookMs = 5_000;
/** So many that windows and caches have filled long before the warm-up ends. */
const customers = 3_000;
const seed = 1;

interface Sample {
  readonly hours: number;
  readonly residentMiB: number;
  readonly heapMiB: number;
  readonly handles: number;
  readonly timers: number;
  readonly lag: number;
}

const ground = await startGround({ brokers: 1, store: 'empty' });
const job = await createJob(ground, { name, partitions, settings: { alignment: false } });
const records = inputRecords(seed, customers, seededRandom(seed));
try {
  const member = await job.fleet.start();
  const perSecond = Number(values.rate) || Math.floor(share * (await capacity(job)));
  process.stderr.write(`${perSecond} records per second for ${minutes} minutes\n`);
  const load = start(perSecond);
  const samples = await watch(member);
  await load.stop();
  process.stdout.write(`${JSON.stringify({ name, minutes, per_second: perSecond, ...figures(samples) })}\n`);
} finally {
  await job.close();
  await ground.stop();
}

function start(perSecond: number): Load {
  return startLoad(ground.cluster.brokers, job.topics.input, records, { perSecond, partitions });
}

/** Records per second that the process gets through while more than that are sent. */
async function capacity({ positions, caughtUp }: Job): Promise<number> {
  const done = async () => [...(await positions()).values()].reduce((sum, position) => sum + position, 0);
  const load = start(25_000);
  await delay(20_000);
  const [before, startedAt] = [await done(), performance.now()];
  await delay(30_000);
  const perSecond = ((await done()) - before) / ((performance.now() - startedAt) / 1000);
  await load.stop();
  await caughtUp();
  return perSecond;
}

async function watch(member: Member): Promise<Sample[]> {
  const samples: Sample[] = [];
  const startedAt = performance.now();
  const hours = () => (performance.now() - startedAt) / 3_600_000;
  while (hours() * 60 < minutes) {
    await delay(lookMs);
    samples.push({
      hours: hours(),
      residentMiB: (await member.metric('process_resident_memory_bytes')) / 2 ** 20,
      heapMiB: (await member.metric('nodejs_heap_size_used_bytes')) / 2 ** 20,
      handles: await member.metric('nodejs_active_handles_total'),
      timers: await member.metric('nodejs_active_resources', 'type="Timeout"'),
      lag: await member.metric('weir_lag_records'),
    });
  }
  return samples;
}

function figures(samples: readonly Sample[]) {
  const warm = samples.slice(Math.floor(samples.length * warmUpShare));
  const range = (of: (sample: Sample) => number) =>
    [Math.min(...warm.map(of)), Math.max(...warm.map(of))].map(Math.round);
  return {
    resident_mib: range(({ residentMiB }) => residentMiB),
    resident_slope_mib_per_hour: Math.round(slope(warm, ({ residentMiB }) => residentMiB)),
    heap_slope_mib_per_hour: Math.round(slope(warm, ({ heapMiB }) => heapMiB)),
    handles: range(({ handles }) => handles),
    timers: range(({ timers }) => timers),
    lag: range(({ lag }) => lag),
  };
}

/** Of the line through the samples with the least squares, per hour. */
function slope(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const x = mean(samples.map(({ hours }) => hours));
  const y = mean(samples.map(of));
  const spread = mean(samples.map(({ hours }) => (hours - x) ** 2));
  return mean(samples.map((sample) => (sample.hours - x) * (of(sample) - y))) / spread;
}
