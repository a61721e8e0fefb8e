import { kafkaSinkConfig, kafkaSourceConfig, sinkConnection } from '../consumers/kafka/config.ts';
import { createKafkaSink } from '../consumers/kafka/sink.ts';
import { createKafkaSource } from '../consumers/kafka/source.ts';
import type { Output, OutputEvent, Ownership } from '../consumers/ports.ts';
import { type KafkaService, startKafka } from '../infra/services/start.ts';
import { systemClock } from '../runtime/clock.ts';
import { type TestKafka, testKafka } from '../test/support/kafka.ts';
import { ownedPartition } from '../test/support/owned-partition.ts';
import { report } from './measure.ts';

const partitions = 4;
const events = 40_000;
const maxEvents = 1_000;
const dataBytes = 900;

interface Bench {
  readonly service: KafkaService;
  readonly kafka: TestKafka;
}

/** Where one output alone publishes: from Kafka to one partition, from elsewhere by key to all of them. */
const keyedPartitions = 16;

/** The Kafka adapters alone: risk events through outputs of four partitions at once, or of one, and reading back what they wrote. */
export async function benchPublish(runs: number, only: (name: string) => boolean): Promise<void> {
  const service = await startKafka();
  const bench = { service, kafka: testKafka(service.brokers) };
  try {
    for (const delivery of ['exactly-once', 'at-least-once'] as const) {
      for (const size of [250, 500, 1000]) {
        const name = `publish.${delivery}.${size}`;
        if (only(name))
          await benchSink(bench, name, { delivery, outputs: partitions, sourceIsKafka: true }, size, runs);
      }
      for (const sourceIsKafka of [true, false]) {
        const name = `publish.${delivery}.1000.one-output${sourceIsKafka ? '' : '.by-key'}`;
        if (only(name)) await benchSink(bench, name, { delivery, outputs: 1, sourceIsKafka }, 1_000, runs);
      }
    }
    if (only('consume.kafka')) await benchSource(bench, 'consume.kafka', runs);
  } finally {
    await bench.kafka.close();
    await service.stop();
  }
}

let topics = 0;

async function makeTopics({ kafka }: Bench, outPartitions = partitions): Promise<string> {
  const name = `publish-${++topics}`;
  for (const topic of [`${name}.in`, `${name}.dead`]) await kafka.createTopic(topic, partitions);
  await kafka.createTopic(`${name}.out`, outPartitions);
  return name;
}

interface SinkUse {
  readonly delivery: 'exactly-once' | 'at-least-once';
  readonly outputs: number;
  readonly sourceIsKafka: boolean;
}

async function benchSink(bench: Bench, name: string, use: SinkUse, size: number, runs: number): Promise<void> {
  const topic = await makeTopics(bench, use.outputs === 1 ? keyedPartitions : partitions);
  const { sink, outputs } = await openOutputs(bench, topic, use);
  const batch = Array.from({ length: size }, (_, index) => riskEvent(index));
  let position = 0;
  const publishAll = () =>
    Promise.all(
      outputs.map(async (output) => {
        for (let sent = 0; sent < events / outputs.length; sent += size) {
          await output.publish({ events: batch, deadLetters: [] }, ++position);
        }
      }),
    );
  await timed(name, runs, publishAll);
  await sink.close();
}

async function openOutputs({ service }: Bench, topic: string, { delivery, outputs: count, sourceIsKafka }: SinkUse) {
  const config = kafkaSinkConfig.parse({
    topic: `${topic}.out`,
    dead_letters: `${topic}.dead`,
    brokers: service.brokers,
  });
  const sink = createKafkaSink(config, {
    connection: sinkConnection(config)!,
    job: 'bench',
    group: topic,
    delivery,
    sourceIsKafka,
    clock: systemClock,
  });
  const outputs: Output[] = [];
  for (let partition = 0; partition < count; partition++) {
    const output = await sink.open(ownedPartition(`${topic}.in`, partition, partitions));
    // Waits, too, until the broker has made the topic that keeps the groups' offsets.
    await output.position();
    outputs.push(output);
  }
  return { sink, outputs };
}

function riskEvent(index: number): OutputEvent {
  const data = `{"transaction_id":"${index}","decision":"approve","features":"${'x'.repeat(dataBytes - 70)}"}`;
  return {
    key: Buffer.from(`customer-${index % 997}`),
    id: `transactions:0:${1_000_000 + index}`,
    time: new Date(1_700_000_000_000 + index * 1_000).toISOString(),
    data: Buffer.from(data),
  };
}

/** Reads four partitions of risk events side by side, in the source's own batches. */
async function benchSource(bench: Bench, name: string, runs: number): Promise<void> {
  const topic = await makeTopics(bench);
  const value = String(riskEvent(0).data);
  for (let sent = 0; sent < events; sent += 2_000) {
    const records = Array.from({ length: 2_000 }, (_, index) => ({ key: `customer-${sent + index}`, value }));
    await bench.kafka.produce(`${topic}.in`, records);
  }
  const config = kafkaSourceConfig.parse({ brokers: bench.service.brokers, topic: `${topic}.in`, group: topic });
  const source = createKafkaSource(config, { maxEvents, format: { type: 'json' }, clock: systemClock });
  const stop = new AbortController();
  const ownerships: Ownership[] = [];
  for await (const ownership of source.ownerships(stop.signal)) {
    if (ownerships.push(ownership) === partitions) break;
  }
  await timed(name, runs, async () => {
    const counts = await Promise.all(ownerships.map(readAll));
    const count = counts.reduce((sum, each) => sum + each, 0);
    if (count !== events) throw new Error(`read ${count} of ${events} records`);
  });
  stop.abort();
  await source.close();
}

async function readAll(ownership: Ownership): Promise<number> {
  const { earliest, end } = await ownership.range();
  let count = 0;
  for (let position = earliest; position < end; ) {
    const batch = await ownership.read(position);
    count += batch.values.length;
    position = batch.next;
  }
  return count;
}

/** Wall-clock time and this process's own CPU time, microseconds per event, after one run to warm up. */
async function timed(name: string, runs: number, work: () => Promise<unknown>): Promise<void> {
  await work();
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let run = 0; run < runs; run++) {
    const startedAt = performance.now();
    const before = process.cpuUsage();
    await work();
    wall.push(((performance.now() - startedAt) * 1_000) / events);
    const { user, system } = process.cpuUsage(before);
    cpu.push((user + system) / events);
  }
  report(name, 'us/event', wall);
  report(`${name}.cpu`, 'us/event', cpu);
}
