import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, afterEach, expect } from '@jest/globals';
import { dynamoClient } from '../../consumers/kinesis/aws.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../../infra/services/start.ts';
import { createHandbookJob, type HandbookJob, type JobSettings } from './handbook-job.ts';
import { type TestKafka, testKafka } from './kafka.ts';
import { type TestKinesis, testKinesis } from './kinesis.ts';
import { startWeir, type WeirProcess } from './weir-process.ts';

/**
 * What suites that run the Handbook job in processes of its own begin with: services, a folder and processes. To be awaited at the top of the
 * suite. Processes end behind their test, everything else behind the last.
 */
export interface Suite {
  /** An empty one of its own. */
  readonly folder: string;
  /** Starts `weir`. */
  start(args: readonly string[], env: Readonly<Record<string, string>>): WeirProcess;
  /** Runs it to its end, whatever that is. */
  run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended>;
  /** @throws Error with what it said, when a process that was started has ended with a fault. */
  expectNoFault(): void;
}

export interface KafkaSuite extends Suite {
  readonly services: { readonly kafka: KafkaService; readonly redis: RedisService };
  readonly kafka: TestKafka;
  createJob(name: string, settings?: JobSettings): Promise<SuiteJob>;
}

/** The Handbook job, and further commands over it. */
export interface SuiteJob extends HandbookJob {
  start(command: readonly string[], more?: readonly string[]): WeirProcess;
  run(command: readonly string[], more?: readonly string[]): Promise<Ended>;
  /** Runs it to its end, which has to be a good one; gives what it printed. */
  runWell(command: readonly string[], more?: readonly string[]): Promise<string>;
}

export interface Ended {
  /** The exit code, or the signal's name. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KinesisSuite extends Suite {
  readonly services: { readonly kinesis: AwsService; readonly dynamo: AwsService; readonly redis: RedisService };
  readonly kinesis: TestKinesis;
  readonly dynamo: DynamoDBClient;
  /** Leads a process to the services. */
  readonly env: Readonly<Record<string, string>>;
}

/** @param areOwn for suites that kill or stop services: none is used that the environment names. */
export async function kafkaSuite({ areOwn = false } = {}): Promise<KafkaSuite> {
  if (areOwn) for (const name of ['WEIR_TEST_REDIS_URL', 'WEIR_TEST_KAFKA_BROKERS']) delete process.env[name];
  const [kafkaService, redis] = await Promise.all([startKafka(), startRedis()]);
  const services = { kafka: kafkaService, redis };
  const kafka = testKafka(kafkaService.brokers);
  const suite = suiteOver(services, () => kafka.close());
  return {
    ...suite,
    services,
    kafka,
    async createJob(name, settings) {
      const job = await createHandbookJob(name, kafka, services, settings);
      const [, ...options] = job.args;
      const all = (command: readonly string[], more: readonly string[]) => [...command, ...options, ...more];
      const run: SuiteJob['run'] = (command, more = []) => suite.run(all(command, more), job.env);
      return {
        ...job,
        start: (command, more = []) => suite.start(all(command, more), job.env),
        run,
        runWell: async (...command) => endedWell(await run(...command)),
      };
    },
  };
}

export async function kinesisSuite(): Promise<KinesisSuite> {
  Object.assign(process.env, emulatorEnv);
  const [kinesisService, dynamoService, redis] = await Promise.all([startKinesis(), startDynamo(), startRedis()]);
  const services = { kinesis: kinesisService, dynamo: dynamoService, redis };
  const kinesis = testKinesis(kinesisService.url);
  const dynamo = dynamoClient({ dynamodb_endpoint: dynamoService.url }, 60_000);
  return {
    ...suiteOver(services, () => {
      kinesis.close();
      dynamo.destroy();
    }),
    services,
    kinesis,
    dynamo,
    env: {
      ...emulatorEnv,
      AWS_ENDPOINT_URL_KINESIS: kinesisService.url,
      AWS_ENDPOINT_URL_DYNAMODB: dynamoService.url,
      REDIS_URL: redis.url,
    },
  };
}

/** Resolves once the process, which logs at info, has begun: from then on a signal ends it in order. */
export async function begun(weir: WeirProcess): Promise<void> {
  while (!weir.stderr().includes('"starting"')) {
    if (weir.child.exitCode !== null) throw new Error(`weir ended: ${weir.stderr()}`);
    await delay(10);
  }
}

/** Waits for its end, and gives what it said. */
export async function ended(weir: WeirProcess): Promise<Ended> {
  const code = await weir.ended();
  return { code, stdout: weir.stdout(), stderr: weir.stderr() };
}

/** What it printed; its end has to be a good one. */
export function endedWell({ code, stdout, stderr }: Ended): string {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

function suiteOver(
  services: Readonly<Record<string, { stop(): Promise<void> }>>,
  close: () => Promise<void> | void,
): Suite {
  const folder = mkdtempSync(join(tmpdir(), 'weir-suite-'));
  const processes = new Set<WeirProcess>();
  afterEach(async () => {
    for (const weir of processes) weir.kill('SIGKILL');
    for (const weir of processes) await weir.ended();
    processes.clear();
  });
  afterAll(async () => {
    await close();
    await Promise.all(Object.values(services).map((service) => service.stop()));
    rmSync(folder, { recursive: true });
  });
  function start(args: readonly string[], env: Readonly<Record<string, string>>): WeirProcess {
    const weir = startWeir(args, env);
    processes.add(weir);
    return weir;
  }

  return {
    folder,
    start,
    async run(args, env) {
      const weir = start(args, env);
      const answer = await ended(weir);
      processes.delete(weir);
      return answer;
    },
    expectNoFault() {
      for (const { child, stderr } of processes) if (child.exitCode) throw new Error(`weir ended: ${stderr()}`);
    },
  };
}
