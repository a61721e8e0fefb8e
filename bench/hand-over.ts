import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin } from 'kafkajs';
import { startKafka, startRedis } from '../infra/services/start.ts';
import { plainKafka } from '../runtime/kafka-client.ts';
import { testKafka } from '../test/support/kafka.ts';
import { startWeir, type WeirProcess } from '../test/support/weir-process.ts';
import { report } from './measure.ts';

const topics = { input: 'hand-over.in', output: 'hand-over.scored', dead: 'hand-over.dead' };
const group = 'hand-over';
const partitions = 6;
const names = ['one', 'two', 'three'];
const perSecond = 600;
const tickMs = 10;
const sessionMs = 6_000;
/** Time before and behind what is measured. */
const calmMs = 3_000;
const patienceMs = 60_000;

/**
 * How long partitions are without output while one of three processes is restarted (its partitions move twice: to the others and back), and when
 * it is killed: the longest time between two receipts by a read_committed consumer, for partitions that move, for the others, and with nothing
 * going on. A run measures each of these once for every partition; p99 is over all partitions of all runs.
 */
export async function benchHandOver(runs: number, only: (name: string) => boolean): Promise<void> {
  if (!only('hand-over.restart') && !only('hand-over.crash')) return;
  const [kafkaService, redis] = await Promise.all([startKafka(), startRedis()]);
  const kafka = testKafka(kafkaService.brokers);
  for (const topic of Object.values(topics)) await kafka.createTopic(topic, partitions);
  const client = plainKafka({ clientId: 'bench', brokers: [...kafkaService.brokers] });
  const admin = client.admin();
  await admin.connect();
  const stream = await startStream(client);
  const env = { KAFKA_BROKERS: kafkaService.brokers.join(','), REDIS_URL: redis.url };
  const fleet = new Map<string, WeirProcess>();
  const start = (name: string) => fleet.set(name, startWeir(argumentsOf(name), env));
  const gaps = new Map<string, number[]>();
  const note = (name: string, values: readonly number[]) => gaps.set(name, [...(gaps.get(name) ?? []), ...values]);

  /** Measures from before the work until it is done and all has been calm for a while. */
  async function gapsDuring(work: () => Promise<void>): Promise<number[]> {
    const from = performance.now();
    await work();
    await sleep(calmMs);
    return stream.gaps(from);
  }

  async function noted(name: string, moving: readonly number[], work: () => Promise<void>): Promise<void> {
    const found = await gapsDuring(work);
    note(
      `${name}.moved`,
      moving.map((partition) => found[partition]),
    );
    note(
      `${name}.others`,
      found.filter((_, partition) => !moving.includes(partition)),
    );
  }

  try {
    for (const name of names) start(name);
    await settled(admin, names.length);
    await sleep(2 * calmMs);
    for (let run = 0; run < runs; run++) {
      const name = names[run % names.length];
      const moving = (await assignments(admin)).get(name)!;
      note('hand-over.undisturbed', await gapsDuring(() => sleep(calmMs)));
      await noted('hand-over.restart', moving, async () => {
        fleet.get(name)!.kill('SIGTERM');
        await fleet.get(name)!.ended();
        await settled(admin, names.length - 1);
        await sleep(calmMs);
        start(name);
        await settled(admin, names.length);
      });
      if (!only('hand-over.crash')) continue;
      await noted('hand-over.crash', (await assignments(admin)).get(name)!, async () => {
        fleet.get(name)!.kill('SIGKILL');
        await sleep(sessionMs);
        await settled(admin, names.length - 1);
      });
      start(name);
      await settled(admin, names.length);
      await sleep(calmMs);
    }
    for (const [name, values] of gaps) {
      report(name, 'ms', values);
      report(`${name}.p99`, 'ms', [percentile(values, 0.99)]);
    }
  } finally {
    for (const weir of fleet.values()) weir.kill('SIGKILL');
    await stream.stop();
    await Promise.all([admin.disconnect(), kafka.close()]);
    await Promise.all([kafkaService.stop(), redis.stop()]);
  }
}

function argumentsOf(name: string): string[] {
  const settings = {
    job: group,
    'source.kafka.topic': topics.input,
    'source.kafka.group': group,
    'source.kafka.client_id': name,
    'source.kafka.process_name': name,
    'source.kafka.session_timeout_ms': sessionMs,
    'sink.kafka.topic': topics.output,
    'sink.kafka.dead_letters': topics.dead,
    'metrics.port': 0,
    'log.level': 'warn',
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', 'examples/handbook/kafka.yaml', ...overrides];
}

/** Partitions by process; those of a group that rebalances are not known. */
async function assignments(admin: Admin): Promise<Map<string, number[]>> {
  const { groups } = await admin.describeGroups([group]);
  if (groups[0].state !== 'Stable') return new Map();
  return new Map(
    groups[0].members.map(({ clientId, memberAssignment }) => {
      const decoded = kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment);
      return [clientId, decoded?.assignment[topics.input] ?? []];
    }),
  );
}

async function settled(admin: Admin, members: number): Promise<void> {
  for (const deadline = performance.now() + patienceMs; performance.now() < deadline; await sleep(50)) {
    const found = await assignments(admin).catch(() => new Map<string, number[]>());
    if (found.size === members && [...found.values()].every(({ length }) => length > 0)) return;
  }
  throw new Error(`the group has not come to ${members} members in ${patienceMs} ms`);
}

/** A steady stream of transactions to all partitions, and when the risk events of each came back. */
async function startStream(client: ReturnType<typeof plainKafka>) {
  const producer = client.producer();
  await producer.connect();
  const consumer = client.consumer({ groupId: 'hand-over-reader', readUncommitted: false, maxWaitTimeInMs: 10 });
  await consumer.connect();
  await consumer.subscribe({ topic: topics.output });
  const received: number[][] = Array.from({ length: partitions }, () => []);
  await consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: partitions,
    eachBatch: async ({ batch }) => void received[batch.partition].push(performance.now()),
  });
  let sent = 0;
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const messages: { key: string; value: string; partition: number }[] = [];
    for (; sent < ((performance.now() - startedAt) * perSecond) / 1000; sent++) {
      const partition = sent % partitions;
      const customer = `${partition}-${sent % 5_000}`;
      messages.push({ partition, key: customer, value: transaction(sent, customer) });
    }
    void producer.send({ topic: topics.input, messages });
  }, tickMs);
  return {
    /** The longest time without a receipt since then, by partition. */
    gaps(from: number): number[] {
      const now = performance.now();
      return received.map((times) => {
        const since = [from, ...times.filter((time) => time >= from), now];
        return Math.max(...since.slice(1).map((time, n) => time - since[n]));
      });
    },
    async stop() {
      clearInterval(timer);
      await Promise.all([producer.disconnect(), consumer.disconnect()]);
    },
  };
}

function transaction(sequence: number, customer: string): string {
  const time = Date.UTC(2026, 0, 1) + sequence * 1_000;
  return `{"transaction_id":"${sequence}","ts_ms":${time},"customer_id":"${customer}","terminal_id":"${sequence % 1_000}","amount":"12.50","fraud":0}`;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}
