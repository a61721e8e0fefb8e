import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { type RelayEvents, type RelayOptions, relay } from '../support/relay.ts';
import { type Cluster, startCluster } from './cluster.ts';

// Real brokers, processes and crashes on a shared machine: a failure is printed, and tried once more.
jest.retryTimes(1, { logErrorsBeforeRetry: true });

const partitions = 2;
const recordsEach = 4_000;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await cluster.stop();
});

const running: { end(): Promise<unknown> }[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((part) => part.end()));
});

/** A topic full of numbers, counted up in each partition, and what it takes to relay it. */
async function fill(): Promise<RelayOptions> {
  const [input, output, deadLetters] = await Promise.all([partitions, partitions, 1].map((n) => cluster.topic(n)));
  const producer = await cluster.producer();
  for (let partition = 0; partition < partitions; partition++) {
    for (let from = 0; from < recordsEach; from += 1_000) {
      const messages = Array.from({ length: 1_000 }, (_, n) => ({ partition, key: 'k', value: `${from + n}` }));
      await producer.send({ topic: input, messages });
    }
  }
  const group = `group-${input}`;
  return { brokers: cluster.brokers, input, output, deadLetters, group, delivery: 'exactly-once', maxEvents: 25 };
}

/** A relay in this process, until it is ended. */
function startRelay(options: RelayOptions, events: RelayEvents = {}): { end(): Promise<void> } {
  const stop = new AbortController();
  const done = relay(options, stop.signal, events);
  const part = {
    end() {
      stop.abort();
      return done;
    },
  };
  running.push(part);
  return part;
}

/** A relay in a process of its own, and all it has said. */
function spawnRelay(options: RelayOptions): { child: ChildProcess; lines: string[] } {
  const path = fileURLToPath(new URL('../support/relay.ts', import.meta.url));
  const child = spawn(process.execPath, [path, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  child.stdout!.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')));
  const closed = once(child, 'close');
  running.push({
    end() {
      child.kill('SIGKILL');
      return closed;
    },
  });
  return { child, lines };
}

/** How much of the input is committed, over all partitions; 0 while the broker cannot say. */
async function committed({ group, input }: RelayOptions): Promise<number> {
  const answer = await cluster.admin.fetchOffsets({ groupId: group, topics: [input] }).catch(() => undefined);
  const offsets = answer?.[0].partitions ?? [];
  return offsets.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
}

async function untilCommitted(options: RelayOptions, count: number): Promise<void> {
  await until(async () => (await committed(options)) >= count);
}

const all = partitions * recordsEach;

/** Every record once, in its order. */
async function expectAllOnce({ output, input }: RelayOptions): Promise<void> {
  const records = await cluster.read(output);
  for (let partition = 0; partition < partitions; partition++) {
    const seen = records.filter((record) => record.partition === partition);
    expect(seen.map(({ value }) => Number(value))).toEqual(Array.from({ length: recordsEach }, (_, n) => n));
    expect(seen.map(({ headers }) => headers.ce_id)).toEqual(seen.map((_, n) => `${input}:${partition}:${n}`));
  }
}

describe('taking over', () => {
  it('goes on where a killed process was, three times over', async () => {
    const options = await fill();
    for (const share of [0.2, 0.4, 0.6]) {
      const { child } = spawnRelay(options);
      await untilCommitted(options, all * share);
      child.kill('SIGKILL');
    }
    startRelay(options);
    await untilCommitted(options, all);
    await expectAllOnce(options);
  });

  it('fences a process that was paused in the middle and wakes up', async () => {
    const options = await fill();
    const { child, lines } = spawnRelay(options);
    await untilCommitted(options, all * 0.2);
    child.kill('SIGSTOP');
    const before = await committed(options);
    let owned = 0;
    startRelay(options, { owned: () => owned++ });
    await untilCommitted(options, before + all * 0.2);
    expect(owned).toBe(partitions);
    const said = lines.length;
    child.kill('SIGCONT');
    // It finds out by itself, and joins the group again.
    await until(() => lines.slice(said).some((line) => line.startsWith('owned')));
    await untilCommitted(options, all);
    await expectAllOnce(options);
  });

  it('shares and takes back while the work goes on', async () => {
    const options = await fill();
    startRelay(options);
    for (const share of [0.15, 0.3, 0.45, 0.6]) {
      await untilCommitted(options, all * share);
      const guest = startRelay(options);
      await untilCommitted(options, all * (share + 0.1));
      await guest.end();
    }
    await untilCommitted(options, all);
    await expectAllOnce(options);
  });

  it('lasts through the death of the broker', async () => {
    const options = await fill();
    const failures = new Set<string>();
    startRelay(options, { failed: (_, code) => failures.add(code) });
    await untilCommitted(options, all * 0.3);
    await cluster.service.kill();
    await cluster.service.restart();
    await untilCommitted(options, all);
    await expectAllOnce(options);
    for (const code of failures) expect(['BROKER', 'FENCED']).toContain(code);
  });

  it('leaves nothing out, at least once', async () => {
    const options: RelayOptions = { ...(await fill()), delivery: 'at-least-once' };
    const { child } = spawnRelay(options);
    await untilCommitted(options, all * 0.3);
    child.kill('SIGKILL');
    startRelay(options);
    await untilCommitted(options, all);
    const records = await cluster.read(options.output);
    for (let partition = 0; partition < partitions; partition++) {
      const values = records.filter((record) => record.partition === partition).map(({ value }) => Number(value));
      expect([...new Set(values)]).toEqual(Array.from({ length: recordsEach }, (_, n) => n));
    }
  });
});

/** Waits for the condition; jest's own timeout ends a wait for what never comes. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
