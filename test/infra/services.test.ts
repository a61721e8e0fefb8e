import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { Kafka } from 'kafkajs';
import { parse } from 'yaml';
import { startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../../infra/services/start.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';

const CLI = fileURLToPath(new URL('../../infra/services/cli.ts', import.meta.url));
// A service that the environment names cannot be killed or restarted: these tests are about our own.
const given = ['WEIR_TEST_REDIS_URL', 'WEIR_TEST_KAFKA_BROKERS', 'WEIR_TEST_KINESIS_URL', 'WEIR_TEST_DYNAMODB_URL'];
const forgetGiven = () => {
  for (const name of given) delete process.env[name];
};
forgetGiven();
const ENV = { ...process.env };

describe('startRedis', () => {
  let service: RedisService;
  beforeAll(async () => {
    service = await startRedis();
  });
  afterAll(() => service.stop());

  async function withClient<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(service.url);
    try {
      return await work(client);
    } finally {
      client.disconnect();
    }
  }

  it('gives a Redis that stores, never evicts, and comes back empty on the same port', async () => {
    await withClient(async (client) => {
      await client.set('card', '42');
      expect(await client.get('card')).toBe('42');
      expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    });
    const before = service.pid;
    await service.kill();
    await expectGone([before]);
    await service.restart();
    expect(service.pid).not.toBe(before);
    await withClient(async (client) => expect(await client.get('card')).toBeNull());
  });

  it('passes arguments on', async () => {
    const locked = await startRedis({ args: ['--requirepass', 'open sesame', '--maxmemory-policy', 'allkeys-lru'] });
    const client = new Redis(locked.url, { password: 'open sesame' });
    try {
      expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'allkeys-lru']);
    } finally {
      client.disconnect();
      await locked.stop();
    }
  });

  it('says what Redis said when it cannot start, and leaves nothing behind', async () => {
    await expect(startRedis({ port: service.port })).rejects.toThrow(
      /ended while starting[\s\S]*Address already in use/,
    );
    const setting = `no-such-setting-${randomUUID()}`;
    await expect(startRedis({ args: [`--${setting}`, '1'] })).rejects.toThrow(setting);
    expect(redisLogs().filter((log) => log.includes(setting))).toEqual([]);
  });
});

describe('startKafka', () => {
  let service: KafkaService;
  beforeAll(async () => {
    service = await startKafka();
  });
  afterAll(() => service.stop());

  const OLD = Date.UTC(2018, 3, 1);

  function client(): Kafka {
    return plainKafka({ brokers: [...service.brokers] });
  }

  async function publish(values: string[], transactional: boolean): Promise<void> {
    const settings = transactional
      ? { transactionalId: 'services-test', maxInFlightRequests: 1, idempotent: true }
      : {};
    const producer = client().producer(settings);
    await producer.connect();
    const messages = values.map((value) => ({ value, timestamp: String(OLD) }));
    const target = transactional ? await producer.transaction() : producer;
    await target.send({ topic: 'transactions', messages });
    if ('commit' in target) await target.commit();
    await producer.disconnect();
  }

  function consume(count: number): Promise<string> {
    const isolation = ['--isolation-level', 'read_committed'];
    const end = ['--from-beginning', '--max-messages', String(count), '--timeout-ms', '60000'];
    return service.consoleConsumer(['--topic', 'transactions', ...isolation, ...end]);
  }

  it('keeps records with old event times, transactions included, over a kill', async () => {
    const admin = client().admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'transactions', numPartitions: 1 }], waitForLeaders: true });
    await admin.disconnect();
    await publish(['one'], false);
    await publish(['two', 'three'], true);
    expect(await consume(3)).toBe('one\ntwo\nthree\n');

    const before = { pid: service.pid, brokers: service.brokers };
    await service.kill();
    await expectGone([before.pid]);
    await service.restart();
    expect(service.brokers).toEqual(before.brokers);
    expect(service.pid).not.toBe(before.pid);
    await publish(['four'], true);
    expect(await consume(4)).toBe('one\ntwo\nthree\nfour\n');
  });
});

describe('startKinesis and startDynamo', () => {
  it('give emulators that answer on the loopback interface alone, and come back on their ports', async () => {
    const services = [await startKinesis(), await startDynamo()];
    try {
      for (const service of services) {
        // All of 127/8 is this machine's, but only a listener on every interface answers on another of its addresses.
        await expect(fetch(service.url.replace('127.0.0.1', '127.0.0.2'))).rejects.toThrow('fetch failed');
        const before = service.pid;
        await service.kill();
        await expectGone([before]);
        await service.restart();
        expect((await fetch(service.url)).status).toBeGreaterThan(0);
      }
    } finally {
      for (const service of services) await service.stop();
    }
  });
});

describe('an address in the environment', () => {
  afterEach(forgetGiven);

  it('is taken as it is, and its owner keeps it', async () => {
    process.env.WEIR_TEST_REDIS_URL = 'redis://cache.test:6390/2';
    process.env.WEIR_TEST_KAFKA_BROKERS = 'one.test:9092,two.test:9092';
    const redis = await startRedis();
    const kafka = await startKafka();
    expect(redis).toMatchObject({ url: 'redis://cache.test:6390/2', host: 'cache.test', port: 6390, pid: -1 });
    expect(kafka).toMatchObject({ brokers: ['one.test:9092', 'two.test:9092'], pid: -1 });
    await redis.kill();
    await kafka.stop();
    await expect(redis.restart()).rejects.toThrow(/WEIR_TEST_REDIS_URL/);
    await expect(kafka.restart()).rejects.toThrow(/WEIR_TEST_KAFKA_BROKERS/);
    process.env.WEIR_TEST_KINESIS_URL = 'http://kinesis.test:4568';
    process.env.WEIR_TEST_DYNAMODB_URL = 'http://dynamo.test:8000';
    const emulators = [await startKinesis(), await startDynamo()];
    expect(emulators.map(({ url, pid }) => ({ url, pid }))).toEqual([
      { url: 'http://kinesis.test:4568', pid: -1 },
      { url: 'http://dynamo.test:8000', pid: -1 },
    ]);
  });
});

describe('the services command', () => {
  let folder: string;
  let command: ChildProcess;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-test-services-'));
  });
  afterEach(async () => {
    const started = childrenOf(command.pid!);
    command.kill('SIGKILL');
    await expectGone([command.pid!, ...started]);
    // Whoever watches over a service removes its folder a second later.
    await until(() => readdirSync(folder).length === 0);
    rmSync(folder, { recursive: true });
  });

  /** The command, and its first lines of output. */
  async function services(args: string[], lines: number): Promise<string[]> {
    command = spawn(process.execPath, [CLI, ...args], {
      env: { ...ENV, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = once(command, 'close');
    let said = '';
    command.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const printed: string[] = [];
    for await (const line of createInterface({ input: command.stdout! })) {
      printed.push(line);
      if (printed.length === lines) return printed;
    }
    await closed;
    throw new Error(`the command printed ${printed.length} lines, then ended: ${said}`);
  }

  it('prints the environment of both and ends both on Ctrl-C, which npm sends a second time', async () => {
    const printed = await services([], 2);
    expect(printed[0]).toMatch(/^export REDIS_URL=redis:\/\/127\.0\.0\.1:\d+$/);
    expect(printed[1]).toMatch(/^export KAFKA_BROKERS=127\.0\.0\.1:\d+$/);
    const children = childrenOf(command.pid!);
    expect(children).toHaveLength(2);
    expect(readdirSync(folder)).toHaveLength(2);
    const ended = once(command!, 'exit');
    // At once: a process that is about to end has no handler any more.
    command.kill('SIGINT');
    command.kill('SIGINT');
    expect(await ended).toEqual([0, null]);
    await expectGone(children);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('makes every topic that the examples read and write', async () => {
    const printed = await services(['kafka'], 1);
    const admin = plainKafka({ brokers: [printed[0].split('=')[1]] }).admin();
    await admin.connect();
    const there = await admin.listTopics();
    await admin.disconnect();
    for (const example of ['kafka/weir.yaml', 'handbook/kafka.yaml']) {
      const { source, sink } = parse(readFileSync(`examples/${example}`, 'utf8'));
      expect(there).toEqual(expect.arrayContaining([source.kafka.topic, sink.kafka.topic, sink.kafka.dead_letters]));
    }
  });

  it('prints one JSON line, and nothing outlives it when it is killed', async () => {
    const [line] = await services(['redis', '--json'], 1);
    expect(JSON.parse(line)).toEqual({ REDIS_URL: expect.stringMatching(/^redis:/) });
    const children = childrenOf(command.pid!);
    expect(children).toHaveLength(1);
    command.kill('SIGKILL');
    await expectGone(children);
    await until(() => readdirSync(folder).length === 0);
  });

  it("prints the AWS SDKs' own variables for Kinesis and DynamoDB, and ends both when it is killed", async () => {
    const [line] = await services(['kinesis', '--json'], 1);
    expect(JSON.parse(line)).toEqual({
      AWS_ENDPOINT_URL_KINESIS: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      AWS_ENDPOINT_URL_DYNAMODB: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
    });
    const children = childrenOf(command.pid!);
    expect(children).toHaveLength(2);
    command.kill('SIGKILL');
    await expectGone(children);
    await until(() => readdirSync(folder).length === 0);
  });

  it('refuses a service that it does not know', async () => {
    await expect(services(['postgres'], 1)).rejects.toThrow(
      /Allowed choices are redis, redis-replica, redis-cluster, kafka, kinesis/,
    );
    expect(command.exitCode).toBe(1);
  });
});

/** What every Redis that has a folder has said: other tests may be running theirs. */
function redisLogs(): string[] {
  const folders = readdirSync(tmpdir()).filter((entry) => entry.startsWith('weir-redis-'));
  return folders.flatMap((folder) => {
    try {
      return [readFileSync(join(tmpdir(), folder, 'redis.log'), 'utf8')];
    } catch {
      // Gone, with its folder.
      return [];
    }
  });
}

function childrenOf(pid: number): number[] {
  const printed = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  const rows = printed.trim().split('\n');
  return rows
    .map((row) => row.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => (parent === pid ? [child] : []));
}

/** A zombie has ended: that nobody has collected its exit code yet is not our matter. */
function lives(pid: number): boolean {
  const printed = execFileSync('ps', ['-A', '-o', 'pid=,stat='], { encoding: 'utf8' });
  return new RegExp(`^\\s*${pid}\\s+[^Z\\s]`, 'm').test(printed);
}

async function expectGone(pids: number[]): Promise<void> {
  await until(() => !pids.some(lives));
}

/** Waits for the condition; jest's own timeout ends a wait for what never comes. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(20);
}
