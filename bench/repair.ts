import { setTimeout as delay } from 'node:timers/promises';
import { ask } from '../infra/services/redis-commands.ts';
import { startKafka, startRedis } from '../infra/services/start.ts';
import { type HandbookRow, readHandbook } from '../test/support/handbook.ts';
import { testKafka } from '../test/support/kafka.ts';
import { startWeir, type WeirProcess } from '../test/support/weir-process.ts';
import { cpuSeconds } from './cpu.ts';
import { jsonRecord } from './data.ts';
import { report } from './measure.ts';

const events = 300_000;
const partitions = 4;
const topics = { input: 'repair.in', output: 'repair.scored', dead: 'repair.dead' };
const pollMs = 20;

/**
 * Redis loses everything under a running process that owns all partitions: how fast it applies the whole log again. From the first event
 * that is applied again to the last; broker and Redis run on the same cores. And, to compare with, what it took to score the same events before.
 */
export async function benchRepair(runs: number, only: (name: string) => boolean): Promise<void> {
  if (!only('repair')) return;
  const [kafkaService, redis] = await Promise.all([startKafka(), startRedis({ args: [] })]);
  const kafka = testKafka(kafkaService.brokers);
  let weir: WeirProcess | undefined;
  try {
    const rows = await readHandbook(events);
    for (const topic of Object.values(topics)) await kafka.createTopic(topic, partitions);
    const produce = (some: readonly HandbookRow[], id = (row: HandbookRow) => row.transaction_id) =>
      kafka.produce(
        topics.input,
        some.map((row) => ({ key: row.customer_id, value: jsonRecord(row, id(row)) })),
      );
    await produce(rows);
    weir = startWeir(jobArguments(), { KAFKA_BROKERS: kafkaService.brokers.join(','), REDIS_URL: redis.url });
    const figures = { rate: [] as number[], worker: [] as number[], broker: [] as number[], redis: [] as number[] };
    const pids = { worker: weir.child.pid!, broker: kafkaService.pid, redis: redis.pid };
    const parts = Object.keys(pids) as (keyof typeof pids)[];
    await reached(weir, 'weir_scored_total', events);
    report('repair.scored-before.cpu.worker', 'us/event', [(cpuSeconds(pids.worker) * 1e6) / events]);
    for (let run = 0; run < runs; run++) {
      const before = (await metric(weir, 'weir_recovered_events_total'))!;
      // All partitions store something, and find out with it.
      await ask(redis, 'FLUSHALL');
      await produce(rows.slice(-100 * partitions), ({ transaction_id }) => `${run}-${transaction_id}`);
      await reached(weir, 'weir_recovered_events_total', before + 1);
      const cpu = parts.map((part) => cpuSeconds(pids[part]));
      const startedAt = performance.now();
      const done = await reached(weir, 'weir_recovered_events_total', before + events);
      figures.rate.push(((done - before) * 1000) / (performance.now() - startedAt));
      for (const [index, part] of parts.entries()) {
        figures[part].push(((cpuSeconds(pids[part]) - cpu[index]) * 1e6) / events);
      }
      await reached(weir, 'weir_scored_total', events + 100 * partitions * (run + 1));
    }
    report('repair', 'events/s', figures.rate);
    for (const part of parts) report(`repair.cpu.${part}`, 'us/event', figures[part]);
  } finally {
    weir?.kill('SIGKILL');
    await kafka.close();
    await Promise.all([kafkaService.stop(), redis.stop()]);
  }
}

function jobArguments(): string[] {
  const settings = {
    job: 'repair',
    'source.kafka.topic': topics.input,
    'source.kafka.group': 'repair',
    'sink.kafka.topic': topics.output,
    'sink.kafka.dead_letters': topics.dead,
    'metrics.port': '0',
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', 'examples/handbook/kafka.yaml', ...overrides];
}

/** Waits until the metric has come to the value; gives what it is then. */
async function reached(weir: WeirProcess, name: string, value: number): Promise<number> {
  for (;;) {
    const now = await metric(weir, name);
    if (now !== undefined && now >= value) return now;
    if (weir.child.exitCode !== null) throw new Error(`weir ended: ${weir.stderr()}`);
    await delay(pollMs);
  }
}

async function metric(weir: WeirProcess, name: string): Promise<number | undefined> {
  const port = /"metrics_port":(\d+)/.exec(weir.stderr())?.[1];
  if (port === undefined) return undefined;
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const found = new RegExp(`^${name} (\\d+)$`, 'm').exec(text);
  return found === null ? undefined : Number(found[1]);
}
