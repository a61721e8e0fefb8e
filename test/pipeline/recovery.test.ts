import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { bruteForceFeatures, readHandbook } from '../support/handbook.ts';
import { expectExactlyOnce, noticesTheDeadSoon } from '../support/handbook-job.ts';
import { begun, kafkaSuite, type SuiteJob } from '../support/suite.ts';
import type { WeirProcess } from '../support/weir-process.ts';

const rowCount = 8_000;
const half = rowCount / 2;
const rows = await readHandbook(rowCount);
const wanted = bruteForceFeatures(rows);
const { services, createJob } = await kafkaSuite({ areOwn: true });

const start = (job: SuiteJob) => job.start(['run'], ['--set', 'log.level=info']);

/** The job with the first half of the rows published. */
async function halfDone(name: string): Promise<{ job: SuiteJob; weir: WeirProcess }> {
  const job = await createJob(name, noticesTheDeadSoon);
  await job.produce(rows.slice(0, half));
  const weir = start(job);
  await job.waitForPublished(half);
  return { job, weir };
}

/** Sends the second half, waits until it is published, and ends the process in order. */
async function finish(job: SuiteJob, weir: WeirProcess): Promise<void> {
  await job.produce(rows.slice(half));
  await job.waitForPublished(rowCount);
  weir.kill('SIGTERM');
  expect({ code: await weir.ended(), bug: /bug in weir/.test(weir.stderr()) }).toEqual({
    code: 0,
    bug: false,
  });
  expectExactlyOnce(await job.published(), rows, wanted);
}

/** Until so many processes share the partitions, and none of them is taking over from another. */
async function shared(job: SuiteJob, count: number): Promise<void> {
  for (;;) {
    const status = JSON.parse(await job.runWell(['fleet', 'status'], ['--json'])) as Status;
    const { state, members, partitions } = status;
    if (state === 'Stable' && members.length === count && partitions.every(({ owner }) => owner !== null)) return;
  }
}

interface Status {
  readonly state: string;
  readonly members: readonly unknown[];
  readonly partitions: readonly { readonly owner: object | null }[];
}

async function wipeRedis(): Promise<void> {
  const redis = new Redis(services.redis.url);
  await redis.flushall();
  redis.disconnect();
}

describe('what fails in the middle', () => {
  it('Redis loses everything while no process runs: state is rebuilt from the log, publishing nothing', async () => {
    const { job, weir } = await halfDone('redis-lost');
    weir.kill('SIGKILL');
    await weir.ended();
    await wipeRedis();
    await finish(job, start(job));
  }, 200_000);

  it('Redis crashes under a running process and comes back empty: it goes on, with the same features', async () => {
    const { job, weir } = await halfDone('redis-crashed');
    await services.redis.kill();
    await job.produce(rows.slice(half, half + 1000));
    await services.redis.restart();
    await job.produce(rows.slice(half + 1000));
    await job.waitForPublished(rowCount);
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);
    expectExactlyOnce(await job.published(), rows, wanted);
    // What it stored afterwards is whole: another process goes by it.
    const redis = new Redis(services.redis.url);
    expect(await redis.dbsize()).toBeGreaterThan(100);
    redis.disconnect();
  }, 200_000);

  it('the broker restarts under a running process: it goes on', async () => {
    const { job, weir } = await halfDone('broker-restarted');
    await services.kafka.restart();
    await finish(job, weir);
  }, 200_000);

  it('a process is paused until another has its partitions, then wakes: it cannot publish', async () => {
    const { job, weir } = await halfDone('zombie');
    weir.kill('SIGSTOP');
    await job.produce(rows.slice(half, half + 1000));
    const heir = start(job);
    await job.waitForPublished(half + 1000);
    weir.kill('SIGCONT');
    await job.produce(rows.slice(half + 1000));
    await job.waitForPublished(rowCount);
    await shared(job, 2);
    for (const each of [weir, heir]) each.kill('SIGTERM');
    expect(await Promise.all([weir.ended(), heir.ended()])).toEqual([0, 0]);
    expectExactlyOnce(await job.published(), rows, wanted);
  }, 200_000);

  it('processes come and go under load', async () => {
    const { job, weir } = await halfDone('coming-and-going');
    const second = start(job);
    await job.produce(rows.slice(half, half + 2000));
    await job.waitForPublished(half + 1000);
    weir.kill('SIGTERM');
    const third = start(job);
    await job.produce(rows.slice(half + 2000));
    await job.waitForPublished(rowCount - 500);
    second.kill('SIGKILL');
    await job.waitForPublished(rowCount);
    // The second may have done all the work before the third was up.
    await begun(third);
    third.kill('SIGTERM');
    // The second may have taken over what the first was doing, at the very moment when that was told to stop: 8.
    expect([0, 8]).toContain(await weir.ended());
    expect([await second.ended(), await third.ended()]).toEqual(['SIGKILL', 0]);
    expectExactlyOnce(await job.published(), rows, wanted);
  }, 200_000);
});
