import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { freePorts, isFree } from '../../infra/services/machine.ts';
import { readHandbook } from '../support/handbook.ts';
import { noticesTheDeadSoon } from '../support/handbook-job.ts';
import { kafkaSuite, type SuiteJob } from '../support/suite.ts';
import type { WeirProcess } from '../support/weir-process.ts';

const rows = await readHandbook(2_000);
const { services, createJob } = await kafkaSuite({ areOwn: true });
afterEach(() => {
  process.kill(services.kafka.pid, 'SIGCONT');
  process.kill(services.redis.pid, 'SIGCONT');
});

/** Starts the job; gives the address of its metrics and health. */
async function start(job: SuiteJob): Promise<string> {
  const weir = job.start(['run'], ['--set', 'log.level=info']);
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
    const job = await createJob('stuck-redis');
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
    const job = await createJob('stuck-start');
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
    const job = await createJob('stuck-broker', noticesTheDeadSoon);
    const address = await start(job);
    await until(
      () => health(address),
      ({ ready }) => ready,
    );
    process.kill(services.kafka.pid, 'SIGSTOP');
    const { ready, troubles } = await until(
      () => health(address),
      ({ troubles: { source } }) => source !== undefined,
    );
    expect(ready).toBe(false);
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

/** Two ports in a row, for the metrics of two processes. */
async function twoPorts(): Promise<number> {
  for (;;) {
    const [port] = await freePorts(1);
    if (await isFree(port + 1)) return port;
  }
}

/** Waits until so many processes have said so; gives their ids. */
async function started(weir: WeirProcess, count: number): Promise<number[]> {
  for (;;) {
    const lines = weir.stderr().matchAll(/"pid":(\d+),[^\n]*"message":"starting"/g);
    const pids = [...lines].map(([, pid]) => Number(pid));
    if (pids.length >= count) return pids;
    if (weir.child.exitCode !== null) throw new Error(weir.stderr());
    await delay(10);
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

describe('several processes', () => {
  it('drain together at a Ctrl-C, also when it comes twice', async () => {
    const job = await createJob('several');
    const weir = job.start(['run'], ['--processes', '2', '--set', 'log.level=info']);
    const count = (said: RegExp) => weir.stderr().match(said)?.length ?? 0;
    while (count(/"message":"starting"/g) < 2) {
      if (weir.child.exitCode !== null) throw new Error(weir.stderr());
      await delay(10);
    }
    weir.kill('SIGINT');
    weir.kill('SIGINT');
    expect({ code: await weir.ended(), stopped: count(/"message":"stopped"/g) }).toEqual({ code: 0, stopped: 2 });
  });

  it('says of one that was killed that it was, and starts it again', async () => {
    const job = await createJob('killed');
    const weir = job.start(['run'], ['--processes', '2', '--set', 'log.level=info']);
    const [first] = await started(weir, 2);
    process.kill(first, 'SIGKILL');
    await started(weir, 3);
    // As a shell has it; 1 would be a bug.
    expect(weir.stderr()).toMatch(/"exit_code":137,"restart_in_ms":200/);
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);
  });

  it('wait for the ports of those that a killed supervisor has left behind', async () => {
    const settings = { 'metrics.host': '127.0.0.1', 'metrics.port': await twoPorts(), 'log.level': 'info' };
    const job = await createJob('left-behind', settings);
    const before = job.start(['run'], ['--processes', '2']);
    const left = await started(before, 2);
    try {
      // They have not come to drain yet when the next ones begin.
      for (const pid of left) process.kill(pid, 'SIGSTOP');
      before.kill('SIGKILL');
      const after = job.start(['run'], ['--processes', '2']);
      while (after.stderr().split('the port of the metrics is taken').length < 3) {
        if (after.child.exitCode !== null) throw new Error(after.stderr());
        await delay(10);
      }
      for (const pid of left) process.kill(pid, 'SIGCONT');
      await started(after, 2);
      after.kill('SIGTERM');
      expect(await after.ended()).toBe(0);
    } finally {
      for (const pid of left) killIfThere(pid);
    }
  });

  it('give up on a missing topic as one does, with its exit code', async () => {
    const job = await createJob('no-topic');
    for (const [key, code] of [
      ['sink.kafka.topic', 7],
      ['source.kafka.topic', 3],
    ] as const) {
      const ended = await job.run(['run'], ['--processes', '2', '--set', `${key}=nowhere`]);
      expect({ key, code: ended.code }).toEqual({ key, code });
      expect(ended.stderr).toContain('topic nowhere does not exist');
      expect(ended.stderr).toContain('no restart mends');
    }
  });
});
