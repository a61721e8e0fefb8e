import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../infra/services/start.ts';
import { type HandbookRow, readHandbook } from '../test/support/handbook.ts';
import { type TestKafka, testKafka } from '../test/support/kafka.ts';
import { startWeir, type WeirProcess } from '../test/support/weir-process.ts';
import { cpuSeconds, watchCpu } from './cpu.ts';
import { jsonRecord } from './data.ts';
import { report } from './measure.ts';
import { watchRoundTrips } from './round-trips.ts';

const partitions = 4;
const backlogEvents = 300_000;

interface Bench {
  readonly kafkaService: KafkaService;
  readonly redis: RedisService;
  readonly kafka: TestKafka;
}

/** The whole job from Kafka with Redis, broker and Redis on the same cores: backlog, then latency at a paced rate. */
export async function benchKafka(runs: number, only: (name: string) => boolean): Promise<void> {
  const [kafkaService, redis] = await Promise.all([startKafka(), startRedis()]);
  const bench: Bench = { kafkaService, redis, kafka: testKafka(kafkaService.brokers) };
  try {
    const rows = await readHandbook(backlogEvents);
    for (const processes of [1, 2]) {
      const name = `backlog.kafka.exactly-once.${processes}p`;
      if (only(name)) await benchBacklog(bench, name, rows, processes, runs);
      const without = ['--set', 'event.deduplicate=false'];
      if (only(`${name}.all-count`)) await benchBacklog(bench, `${name}.all-count`, rows, processes, runs, without);
    }
    for (const delivery of ['exactly-once', 'at-least-once']) {
      if (only(`latency.${delivery}`)) await benchLatency(bench, delivery, runs);
    }
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

async function benchBacklog(
  bench: Bench,
  name: string,
  rows: readonly HandbookRow[],
  processes: number,
  runs: number,
  more: readonly string[] = [],
): Promise<void> {
  const rates: number[] = [];
  const cpu = { worker: [] as number[], broker: [] as number[], redis: [] as number[] };
  const roundTrips: number[] = [];
  for (let run = 0; run < runs; run++) {
    const topics = await makeTopics(bench);
    await bench.kafka.produce(
      `${topics}.in`,
      rows.map((row) => ({ key: row.customer_id, value: jsonRecord(row) })),
    );
    const before = { broker: cpuSeconds(bench.kafkaService.pid), redis: cpuSeconds(bench.redis.pid) };
    const weir = startJob(bench, topics, ['--until-end', '--processes', String(processes), ...more]);
    const worker = watchCpu(weir.child.pid!);
    const trips = watchRoundTrips(weir);
    const code = await weir.ended();
    if (code !== 0) throw new Error(`weir ended with ${code}: ${weir.stderr()}`);
    roundTrips.push(trips.stop());
    cpu.worker.push((worker.stop() * 1e6) / rows.length);
    cpu.broker.push(((cpuSeconds(bench.kafkaService.pid) - before.broker) * 1e6) / rows.length);
    cpu.redis.push(((cpuSeconds(bench.redis.pid) - before.redis) * 1e6) / rows.length);
    const { count, first, last } = await bench.kafka.times(`${topics}.scored`);
    if (count !== rows.length) throw new Error(`${count} risk events for ${rows.length} transactions`);
    rates.push((count * 1000) / (last - first));
  }
  report(name, 'events/s', rates);
  for (const [part, values] of Object.entries(cpu)) report(`${name}.cpu.${part}`, 'us/event', values);
  if (processes === 1) report(`${name}.redis-round-trips`, 'per event', roundTrips);
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
