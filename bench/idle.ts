import { setTimeout as delay } from 'node:timers/promises';
import { startKafka, startRedis } from '../infra/services/start.ts';
import { testKafka } from '../test/support/kafka.ts';
import { startWeir, type WeirProcess } from '../test/support/weir-process.ts';
import { cpuSeconds } from './cpu.ts';
import { report } from './measure.ts';

const topics = { input: 'idle.in', output: 'idle.scored', dead: 'idle.dead' };
const partitions = 4;
/** Until a process that has started, or lost something, has come to rest. */
const restMs = 15_000;
const watchedMs = 10_000;

/**
 * What processes take that have nothing to do: more of them than partitions, with nothing in the log; then without Redis, which those that own
 * partitions wait for; then without the broker too.
 */
export async function benchIdle(runs: number, only: (name: string) => boolean): Promise<void> {
  if (!only('idle')) return;
  const [kafkaService, redis] = await Promise.all([startKafka(), startRedis()]);
  const kafka = testKafka(kafkaService.brokers);
  for (const topic of Object.values(topics)) await kafka.createTopic(topic, partitions);
  const env = { KAFKA_BROKERS: kafkaService.brokers.join(','), REDIS_URL: redis.url };
  const fleet = Array.from({ length: partitions + 1 }, (_, number) => startWeir(argumentsOf(number), env));
  const reportIdle = async (name: string) => {
    await delay(restMs);
    const values: number[] = [];
    for (let run = 0; run < runs; run++) values.push(...(await sharesOf(fleet)));
    report(`idle.${name}`, '% of a core', values);
  };
  try {
    await reportIdle('nothing-to-read');
    await redis.stop();
    await reportIdle('no-redis');
    await kafka.close();
    await kafkaService.stop();
    await reportIdle('no-redis-no-broker');
  } finally {
    for (const weir of fleet) weir.kill('SIGKILL');
    await kafka.close();
    await Promise.all([kafkaService.stop(), redis.stop()]);
  }
}

async function sharesOf(fleet: readonly WeirProcess[]): Promise<number[]> {
  const before = fleet.map(({ child }) => cpuSeconds(child.pid!));
  await delay(watchedMs);
  return fleet.map(({ child }, index) => ((cpuSeconds(child.pid!) - before[index]) * 100_000) / watchedMs);
}

function argumentsOf(number: number): string[] {
  const settings = {
    job: 'idle',
    'source.kafka.topic': topics.input,
    'source.kafka.group': 'idle',
    'source.kafka.process_name': `idle-${number}`,
    'sink.kafka.topic': topics.output,
    'sink.kafka.dead_letters': topics.dead,
    'metrics.port': 0,
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', 'examples/handbook/kafka.yaml', ...overrides];
}
