import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../infra/services/start.ts';
import { readHandbook } from '../test/support/handbook.ts';
import { type TestKafka, testKafka } from '../test/support/kafka.ts';
import { startWeir, type WeirProcess } from '../test/support/weir-process.ts';
import { cpuSeconds, limitCpu, watchCpu } from './cpu.ts';
import { jsonRecord } from './data.ts';
import { report } from './measure.ts';
import { watchRoundTrips } from './round-trips.ts';

const partitions = 4;
const events = 300_000;

interface Bench {
  readonly kafkaService: KafkaService;
  readonly redis: RedisService;
  readonly kafka: TestKafka;
}

/** One way to run a job. */
interface Variant {
  readonly name: string;
  readonly processes: number;
  readonly more?: readonly string[];
  /** Of a core, for each process; absent: all that is there. */
  readonly share?: number;
  readonly events: number;
}

/** So little that with two processes one core is left for broker and Redis, which take less. Twice the events: starting counts less. */
const limitedTo = 0.4;
const variants: readonly Variant[] = [1, 2].flatMap((processes) => {
  const name = `backlog.kafka.exactly-once.${processes}p`;
  return [
    { name, processes, events },
    { name: `${name}.all-count`, processes, events, more: ['--set', 'event.deduplicate=false'] },
    { name: `${name}.unaligned`, processes, events, more: ['--set', 'alignment=false'] },
    { name: `${name}.limited`, processes, events: 2 * events, share: limitedTo },
  ];
});

/** The whole job from Kafka with Redis, broker and Redis on the same cores: backlogs, then latency at a paced rate. */
export async function benchKafka(runs: number, only: (name: string) => boolean): Promise<void> {
  const chosen = variants.filter(({ name }) => only(name));
  const deliveries = ['exactly-once', 'at-least-once'].filter((delivery) => only(`latency.${delivery}`));
  if (chosen.length === 0 && deliveries.length === 0) return;
  const [kafkaService, redis] = await Promise.all([startKafka(), startRedis()]);
  const bench: Bench = { kafkaService, redis, kafka: testKafka(kafkaService.brokers) };
  try {
    const rows = (await readHandbook(Math.max(0, ...chosen.map(({ events }) => events)))).map((row) => ({
      key: row.customer_id,
      value: jsonRecord(row),
    }));
    await benchBacklogs(bench, rows, chosen, runs);
    for (const delivery of deliveries) await benchLatency(bench, delivery, runs);
  } finally {
    await bench.kafka.close();
    await Promise.all([kafkaService.stop(), redis.stop()]);
  }
}

let jobs = 0;

function startJob({ kafkaService, redis }: Bench, name: string, more: readonly string[]): WeirProcess {
  const settings = {
    job: name,
    'source.kafka.topic': `${name}.in`,
    'source.kafka.group': name,
    'sink.kafka.topic': `${name}.scored`,
    'sink.kafka.dead_letters': `${name}.dead`,
    'metrics.port': '0',
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return startWeir(['run', '--config', 'examples/handbook/kafka.yaml', ...overrides, ...more], {
    KAFKA_BROKERS: kafkaService.brokers.join(','),
    REDIS_URL: redis.url,
  });
}

async function makeTopics({ kafka }: Bench): Promise<string> {
  const name = `bench-${++jobs}`;
  for (const topic of [`${name}.in`, `${name}.scored`, `${name}.dead`]) await kafka.createTopic(topic, partitions);
  return name;
}

type Records = Parameters<TestKafka['produce']>[1];

interface BacklogRun {
  readonly rate: number;
  readonly cpu: { readonly worker: number; readonly broker: number; readonly redis: number };
  readonly roundTrips: number;
}

async function runBacklog(bench: Bench, all: Records, variant: Variant): Promise<BacklogRun> {
  const { kafkaService, redis, kafka } = bench;
  const records = all.slice(0, variant.events);
  const name = await makeTopics(bench);
  await kafka.produce(`${name}.in`, records);
  const before = { broker: cpuSeconds(kafkaService.pid), redis: cpuSeconds(redis.pid) };
  const args = ['--until-end', '--processes', String(variant.processes), ...(variant.more ?? [])];
  const weir = startJob(bench, name, args);
  const worker = watchCpu(weir.child.pid!);
  const limit = variant.share === undefined ? undefined : limitCpu(weir.child.pid!, variant.share);
  const trips = watchRoundTrips(weir);
  const code = await weir.ended();
  if (code !== 0) throw new Error(`weir ended with ${code}: ${weir.stderr()}`);
  limit?.stop();
  const roundTrips = trips.stop();
  const perEvent = (seconds: number) => (seconds * 1e6) / records.length;
  const cpu = {
    worker: perEvent(worker.stop()),
    broker: perEvent(cpuSeconds(kafkaService.pid) - before.broker),
    redis: perEvent(cpuSeconds(redis.pid) - before.redis),
  };
  const { count, first, last } = await kafka.times(`${name}.scored`);
  if (count !== records.length) throw new Error(`${count} risk events for ${records.length} transactions`);
  return { rate: (count * 1000) / (last - first), cpu, roundTrips };
}

/** Runs the variants in turn, so that what the machine does meanwhile falls on all; each is also compared with the first, run by run. */
async function benchBacklogs(
  bench: Bench,
  records: Records,
  variants: readonly Variant[],
  runs: number,
): Promise<void> {
  const results = variants.map((): BacklogRun[] => []);
  for (let run = 0; run < runs; run++) {
    for (const [index, variant] of variants.entries()) results[index].push(await runBacklog(bench, records, variant));
  }
  const costs = results.map((of) => of.map(({ cpu }) => cpu.worker + cpu.broker + cpu.redis));
  for (const [index, { name, processes }] of variants.entries()) {
    const of = results[index];
    report(
      name,
      'events/s',
      of.map(({ rate }) => rate),
    );
    for (const part of ['worker', 'broker', 'redis'] as const) {
      report(
        `${name}.cpu.${part}`,
        'us/event',
        of.map(({ cpu }) => cpu[part]),
      );
    }
    if (processes === 1) {
      report(
        `${name}.redis-round-trips`,
        'per event',
        of.map(({ roundTrips }) => roundTrips),
      );
    }
    if (index === 0) continue;
    report(
      `${name} / ${variants[0].name}`,
      'events/s, ratio',
      of.map(({ rate }, run) => rate / results[0][run].rate),
    );
    report(
      `${name} / ${variants[0].name}`,
      'CPU, ratio',
      costs[index].map((cost, run) => cost / costs[0][run]),
    );
  }
}

/** Percentiles from intended send time to read_committed receipt, by a client in a process of its own. */
async function benchLatency(bench: Bench, delivery: string, runs: number): Promise<void> {
  const percentiles: Record<string, number[]> = { p50: [], p99: [], p999: [] };
  for (let run = 0; run < runs; run++) {
    const name = await makeTopics(bench);
    const weir = startJob(bench, name, ['--set', `delivery=${delivery}`]);
    const client = fork(new URL('./latency-client.ts', import.meta.url), [
      bench.kafkaService.brokers.join(','),
      `${name}.in`,
      `${name}.scored`,
    ]);
    const [answer] = (await once(client, 'message')) as [Record<string, number>];
    for (const key of Object.keys(percentiles)) percentiles[key].push(answer[key]);
    weir.kill('SIGTERM');
    await weir.ended();
  }
  for (const [key, values] of Object.entries(percentiles))
    report(`latency.${delivery}.2000-per-s.${key}`, 'ms', values);
}
