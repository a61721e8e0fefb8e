import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { kafkaSinkConfig, kafkaSourceConfig, sinkConnection } from '../../consumers/kafka/config.ts';
import { createKafkaSink } from '../../consumers/kafka/sink.ts';
import { createKafkaSource } from '../../consumers/kafka/source.ts';
import type { Output, OutputBatch, Ownership, RawBatch, Sink } from '../../consumers/ports.ts';
import { systemClock } from '../../runtime/clock.ts';

export interface RelayOptions {
  readonly brokers: readonly string[];
  readonly input: string;
  readonly output: string;
  readonly deadLetters: string;
  readonly group: string;
  readonly delivery: 'exactly-once' | 'at-least-once';
  readonly maxEvents: number;
}

/** What a relay does at each step, for those who watch it. */
export interface RelayEvents {
  owned?(ownership: Ownership): void;
  published?(ownership: Ownership, next: number): void;
  /** A publish or open failed with the code. */
  failed?(ownership: Ownership, code: string): void;
}

/**
 * The Kafka adapters with nothing in between: every record of a topic comes out as an event with the same value. Runs until the
 * signal aborts. It does with faults what the pipeline does: the partition begins again from what is committed.
 */
export async function relay(options: RelayOptions, signal: AbortSignal, events: RelayEvents = {}): Promise<void> {
  const { brokers, input: topic, group, delivery, maxEvents } = options;
  const times = { session_timeout_ms: 3_000, heartbeat_interval_ms: 100, max_wait_ms: 50 };
  const config = kafkaSourceConfig.parse({ brokers, topic, group, ...times });
  const sinkConfig = kafkaSinkConfig.parse({ topic: options.output, dead_letters: options.deadLetters });
  const source = createKafkaSource(config, { maxEvents, format: { type: 'json' }, clock: systemClock });
  const sink = createKafkaSink(sinkConfig, {
    connection: sinkConnection(sinkConfig, config)!,
    job: 'relay',
    group,
    delivery,
    sourceIsKafka: true,
    clock: systemClock,
  });
  const services = new Map<number, Promise<void>>();
  for await (const ownership of source.ownerships(signal)) {
    events.owned?.(ownership);
    const former = services.get(ownership.partition) ?? Promise.resolve();
    services.set(
      ownership.partition,
      former.then(() => serve(ownership, sink, signal, events)),
    );
  }
  await Promise.all(services.values());
  await source.close();
  await sink.close();
}

async function serve(ownership: Ownership, sink: Sink, signal: AbortSignal, events: RelayEvents): Promise<void> {
  while (!signal.aborted && !ownership.revoked.aborted) {
    let output: Output | undefined;
    try {
      output = await sink.open(ownership);
      await pump(ownership, output, signal, events);
    } catch (error) {
      events.failed?.(ownership, (error as { code?: string }).code ?? String(error));
      await delay(100);
    } finally {
      await output?.close();
    }
  }
}

async function pump(ownership: Ownership, output: Output, signal: AbortSignal, events: RelayEvents): Promise<void> {
  let at = (await output.position()) ?? 0;
  while (!signal.aborted && !ownership.revoked.aborted) {
    const raw = await ownership.read(at);
    if (raw.values.length > 0) {
      await output.publish(relayed(ownership, raw), raw.next);
      events.published?.(ownership, raw.next);
    }
    at = raw.next;
  }
}

function relayed({ stream, partition }: Ownership, { keys, values, offsets, timestamps }: RawBatch): OutputBatch {
  const events = values.map((value, index) => ({
    key: keys[index],
    id: `${stream}:${partition}:${offsets[index]}`,
    time: new Date(timestamps[index]).toISOString(),
    data: value ?? Buffer.from('null'),
  }));
  return { events, deadLetters: [] };
}

// As a process of its own, that can be killed or paused: the options as JSON; prints each step as a line.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const say = (word: string, { partition }: Ownership, more: unknown) => console.log(`${word} ${partition} ${more}`);
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  await relay(JSON.parse(process.argv[2]), stop.signal, {
    owned: (ownership) => say('owned', ownership, ''),
    published: (ownership, next) => say('published', ownership, next),
    failed: (ownership, code) => say('failed', ownership, code),
  });
}
