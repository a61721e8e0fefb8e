import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { seededRandom } from '../../runtime/random.ts';
import { simulateTransactions } from '../../simulator/stream.ts';
import { jsonLine } from '../../simulator/transaction.ts';
import { bruteForce } from './brute-force.ts';
import { inspected, watchPeaks } from './gauge.ts';
import { type Ground, startGround } from './ground.ts';
import { createJob, type Job, type JobOptions } from './job.ts';
import type { Mode } from './trial.ts';
import { until } from './until.ts';
import { faultsOf, readPublished } from './verify.ts';

/** More than the process can take: what it holds stays within its limits, and it comes through by itself. */
const partitions = 4;
/** Few records in memory, so that a backlog is many times what may be held. */
const narrow = {
  'source.kafka.prefetch_records': 500,
  'source.kafka.prefetch_bytes': 262_144,
  'source.kafka.max_bytes_per_partition': 131_072,
  'batch.max_events': 100,
};
/** What is slow is not taken for dead, also when the machine stands still. */
const patient = { 'source.kafka.session_timeout_ms': 60_000, 'state.redis.command_timeout_ms': 60_000 };
/** Memory outside of the heap that is in use, a quarter of it from the start; each backlog alone is more. MiB. */
const mostMiB = 150;
const timeoutMs = 300_000;
const start = Date.UTC(2025, 0, 1);

jest.setTimeout(timeoutMs);

let ground: Ground;
let job: Job | undefined;
let serial = 0;
let seed = 0;

beforeAll(async () => {
  ground = await startGround({ brokers: 1, store: 'empty' }, { 'message.max.bytes': String(64 << 20) });
}, 240_000);
afterEach(async () => {
  ground.heal();
  await job?.close();
});
afterAll(async () => {
  await ground?.stop();
});

async function makeJob(settings: JobOptions['settings']): Promise<Job> {
  job = await createJob(ground, { name: `limits-${serial++}`, partitions, settings: { ...patient, ...settings } });
  return job;
}

/** Other ones at each call. */
function transactions(events: number, padding = '') {
  return [...simulateTransactions({ seed: ++seed, events, customers: 300, start })].map((event) => ({
    key: event.card.id,
    value: `${jsonLine(event).slice(0, -1)},"padding":"${padding}"}`,
  }));
}

/** What is wrong with all of the job's output. */
async function problemsOf({ topics }: Job, mode: Mode): Promise<string[]> {
  const wanted = bruteForce(await ground.kafka.readCommitted(topics.input));
  const published = readPublished(await ground.kafka.readCommitted(topics.scored));
  return faultsOf(wanted, published, await ground.kafka.readCommitted(topics.dead), mode);
}

/** A part of the world that is slow while a backlog waits: nobody is thrown out of the group, and all comes right in the end. */
async function throughSlowness(job: Job, mode: Mode, slow: () => void): Promise<void> {
  const { fleet, topics, progress, caughtUp } = job;
  await ground.kafka.produce(topics.input, transactions(15_000, 'x'.repeat(12_000)));
  slow();
  const member = await fleet.start(inspected);
  const peaks = await watchPeaks(member);
  await until('the lag shows the backlog', async () => (await member.metric('weir_lag_records')) > 5_000);
  await progress(1000);
  expect(await member.owned()).toHaveLength(partitions);
  ground.heal();
  await caughtUp();
  await until('the lag is gone', async () => (await member.metric('weir_lag_records')) === 0);
  const { externalMiB } = await peaks.stop();
  expect(externalMiB).toBeLessThan(mostMiB);
  expect(member.weir.stderr()).not.toMatch(/partition pauses|not owned any more/);
  expect(await problemsOf(job, mode)).toEqual([]);
}

describe('more than a process can take', () => {
  it('a slow sink: what is read waits within its limits', async () => {
    // The one delivery whose sink may be reached another way than the source.
    const mode: Mode = { delivery: 'at-least-once', isAligned: true };
    const job = await makeJob({
      ...narrow,
      delivery: mode.delivery,
      'source.kafka.brokers': JSON.stringify(ground.cluster.brokers),
      'sink.kafka.brokers': JSON.stringify(ground.cluster.fronted),
    });
    await throughSlowness(job, mode, () => ground.brokerProxies[0].slow({ delayMs: 20, bytesPerSecond: 1_000_000 }));
  });

  it('a slow Redis: what is read waits within its limits', async () => {
    const job = await makeJob(narrow);
    const mode: Mode = { delivery: 'exactly-once', isAligned: true };
    await throughSlowness(job, mode, () => ground.store.proxies[0].slow({ delayMs: 20, bytesPerSecond: 500_000 }));
  });

  it('a flood: memory does not follow the backlog, the lag shows it, and it goes by itself', async () => {
    const job = await makeJob(narrow);
    const { fleet, topics, caughtUp } = job;
    const records = 60_000;
    const padding = 'x'.repeat(3_000);
    for (let sent = 0; sent < records; sent += 20_000) {
      await ground.kafka.produce(topics.input, transactions(20_000, padding));
    }
    // Until somebody has looked at it.
    ground.brokerProxies[0].slow({ delayMs: 20, bytesPerSecond: 1_000_000 });
    const member = await fleet.start(inspected);
    const peaks = await watchPeaks(member);
    await until('the lag shows the backlog', async () => (await member.metric('weir_lag_records')) > records / 2);
    ground.heal();
    await caughtUp();
    await until('the lag is gone', async () => (await member.metric('weir_lag_records')) === 0);
    const { externalMiB } = await peaks.stop();
    expect(externalMiB).toBeLessThan(mostMiB);
    expect((await ground.kafka.times(topics.scored)).count).toBe(records);
  });
});

describe('a record of 50 MB', () => {
  const size = 50_000_000;

  it('becomes a dead letter, and everything else goes on', async () => {
    const job = await makeJob({});
    const { topics, fleet, caughtUp } = job;
    const limit = { name: 'max.message.bytes', value: String(64 << 20) };
    await job.admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topics.input, configEntries: [limit] }],
    });
    const all = transactions(4_000);
    await ground.kafka.produce(topics.input, all.slice(0, 2_000));
    const producer = plainKafka({ brokers: [...ground.cluster.brokers], requestTimeout: 60_000 }).producer();
    await producer.connect();
    await producer.send({ topic: topics.input, messages: [{ key: all[0].key, value: Buffer.alloc(size, '{') }] });
    await producer.disconnect();
    await ground.kafka.produce(topics.input, all.slice(2_000));
    const member = await fleet.start(inspected);
    const peaks = await watchPeaks(member);
    await caughtUp();
    const { externalMiB } = await peaks.stop();
    const letters = await ground.kafka.readCommitted(topics.dead);
    expect(letters.map(({ headers }) => headers)).toEqual([
      expect.objectContaining({ 'weir-reason': 'oversized', 'weir-truncated': String(size) }),
    ]);
    expect((await ground.kafka.times(topics.scored)).count).toBe(all.length);
    // The record itself, and what the client makes of it while it arrives.
    expect(externalMiB).toBeLessThan(mostMiB + (4 * size) / (1 << 20));
  });
});

describe('one key with nine tenths of the traffic', () => {
  it('does not keep the other partitions waiting', async () => {
    const job = await makeJob(narrow);
    const { topics, fleet, caughtUp } = job;
    const random = seededRandom(1);
    const all = [...simulateTransactions({ seed: 1, events: 40_000, customers: 300, start })].map((event) => {
      const id = random.below(10) > 0 ? 'hot' : event.card.id;
      return { key: id, value: jsonLine({ ...event, card: { ...event.card, id } }) };
    });
    await ground.kafka.produce(topics.input, all);
    await fleet.start();
    await caughtUp();
    const published = readPublished(await ground.kafka.readCommitted(topics.scored));
    expect(published).toHaveLength(all.length);
    const byTime = [...published].sort((a, b) => a.timestamp - b.timestamp);
    const whole = countByPartition(byTime);
    const [[hot]] = [...whole].sort(([, a], [, b]) => b - a);
    const halfway = byTime.filter(({ partition }) => partition === hot)[whole.get(hot)! >> 1].timestamp;
    const done = countByPartition(byTime.filter(({ timestamp }) => timestamp <= halfway));
    const shares = [...whole].map(([partition, count]) => (done.get(partition) ?? 0) / count);
    expect(shares).toHaveLength(partitions);
    expect(Math.min(...shares)).toBeGreaterThan(0.4);
  });
});

function countByPartition(published: readonly { readonly partition: number }[]): Map<number, number> {
  return new Map(
    [...Map.groupBy(published, ({ partition }) => partition)].map(([partition, of]) => [partition, of.length]),
  );
}
