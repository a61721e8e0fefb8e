import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../../infra/services/start.ts';
import { type HandbookRow, readHandbook } from '../support/handbook.ts';
import { createHandbookJob, type HandbookJob } from '../support/handbook-job.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { runWeir, startWeir, type WeirProcess } from '../support/weir-process.ts';

let rows: HandbookRow[];
let services: { kafka: KafkaService; redis: RedisService };
let kafka: TestKafka;
let weir: WeirProcess | undefined;

beforeAll(async () => {
  // Services of our own: they are stopped here.
  delete process.env.WEIR_TEST_REDIS_URL;
  delete process.env.WEIR_TEST_KAFKA_BROKERS;
  const [read, kafkaService, redis] = await Promise.all([readHandbook(2_000), startKafka(), startRedis()]);
  rows = read;
  services = { kafka: kafkaService, redis };
  kafka = testKafka(kafkaService.brokers);
}, 240_000);
afterEach(async () => {
  process.kill(services.kafka.pid, 'SIGCONT');
  process.kill(services.redis.pid, 'SIGCONT');
  weir?.kill('SIGKILL');
  await weir?.ended();
  weir = undefined;
});
afterAll(async () => {
  await kafka?.close();
  await Promise.all([services?.kafka.stop(), services?.redis.stop()]);
});

/** Starts the job; gives the address of its metrics and health. */
async function start({ args, env }: HandbookJob): Promise<string> {
  weir = startWeir([...args, '--set', 'log.level=info'], env);
  for (;;) {
    const port = /"metrics_port":(\d+)/.exec(weir.stderr())?.[1];
    if (port !== undefined) return `http://127.0.0.1:${port}`;
    if (weir.child.exitCode !== null) throw new Error(weir.stderr());
    await delay(10);
  }
}

async function health(address: string): Promise<{ ready: boolean; troubles: Record<string, string> }> {
  return (await (await fetch(`${address}/readyz`)).json()) as { ready: boolean; troubles: Record<string, string> };
}

/** The sum of a metric over its labels; undefined while there is none. */
async function sum(address: string, metric: string): Promise<number | undefined> {
  const text = await (await fetch(`${address}/metrics`)).text();
  const values = [...text.matchAll(new RegExp(`^${metric}\\{.*\\} (\\S+)$`, 'gm'))].map(([, value]) => Number(value));
  return values.length === 0 ? undefined : values.reduce((total, value) => total + value, 0);
}

/** Waits until the answer is as it should be; jest's own timeout ends a wait for what never comes. */
async function until<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    await delay(100);
  }
}

describe('a job that stands still', () => {
  it('shows a lag that grows while Redis hangs, and consumes nothing', async () => {
    const job = await createHandbookJob('stuck-redis', kafka, services);
    await job.produce(rows.slice(0, 500));
    const address = await start(job);
    await job.waitForPublished(500);
    expect(
      await until(
        () => sum(address, 'weir_lag_records'),
        (lag) => lag === 0,
      ),
    ).toBe(0);
    process.kill(services.redis.pid, 'SIGSTOP');
    await job.produce(rows.slice(500, 1000));
    await until(
      () => sum(address, 'weir_lag_records'),
      (lag) => lag === 500,
    );
    const consumed = await sum(address, 'weir_consumed_total');
    await job.produce(rows.slice(1000, 2000));
    await until(
      () => sum(address, 'weir_lag_records'),
      (lag) => lag === 1500,
    );
    expect(await sum(address, 'weir_consumed_total')).toBe(consumed);
    process.kill(services.redis.pid, 'SIGCONT');
    await job.waitForPublished(2000);
    await until(
      () => sum(address, 'weir_lag_records'),
      (lag) => lag === 0,
    );
  });

  it('shows both when Redis hangs before the first record is consumed', async () => {
    const job = await createHandbookJob('stuck-start', kafka, services);
    const address = await start(job);
    await until(
      () => sum(address, 'weir_lag_records'),
      (lag) => lag === 0,
    );
    process.kill(services.redis.pid, 'SIGSTOP');
    await job.produce(rows.slice(0, 300));
    await until(
      () => sum(address, 'weir_lag_records'),
      (lag) => lag === 300,
    );
    expect(await sum(address, 'weir_consumed_total')).toBe(0);
  });

  it('is not ready while the broker hangs, says so, and is again after', async () => {
    const job = await createHandbookJob('stuck-broker', kafka, services);
    const address = await start(job);
    await until(
      () => health(address),
      ({ ready }) => ready,
    );
    process.kill(services.kafka.pid, 'SIGSTOP');
    const { troubles } = await until(
      () => health(address),
      ({ ready }) => !ready,
    );
    expect(troubles.source).toMatch(/^Kafka at \S+ has not answered for more than \d+ s .*group stuck-broker/);
    process.kill(services.kafka.pid, 'SIGCONT');
    await until(
      () => health(address),
      ({ ready }) => ready,
    );
    await job.produce(rows.slice(0, 100));
    await job.waitForPublished(100);
  });
});

describe('several processes', () => {
  it('drain together at a Ctrl-C, also when it comes twice', async () => {
    const { args, env } = await createHandbookJob('several', kafka, services);
    weir = startWeir([...args, '--processes', '2', '--set', 'log.level=info'], env);
    const count = (said: RegExp) => weir!.stderr().match(said)?.length ?? 0;
    while (count(/"message":"starting"/g) < 2) {
      if (weir.child.exitCode !== null) throw new Error(weir.stderr());
      await delay(10);
    }
    weir.kill('SIGINT');
    weir.kill('SIGINT');
    expect({ code: await weir.ended(), stopped: count(/"message":"stopped"/g) }).toEqual({ code: 0, stopped: 2 });
  });

  it('give up on a missing topic as one does, with its exit code', async () => {
    const { args, env } = await createHandbookJob('no-topic', kafka, services);
    const supervised = (...more: string[]) => runWeir([...args, '--processes', '2', ...more], env);
    for (const [key, code] of [
      ['sink.kafka.topic', 7],
      ['source.kafka.topic', 3],
    ] as const) {
      const ended = await supervised('--set', `${key}=nowhere`);
      expect({ key, code: ended.code }).toEqual({ key, code });
      expect(ended.stderr).toContain('topic nowhere does not exist');
      expect(ended.stderr).toContain('no restart mends');
    }
  });
});
