import { setTimeout as delay } from 'node:timers/promises';
import { type Kafka, type Message, Partitioners, type Producer } from 'kafkajs';
import type { Clock } from '../runtime/clock.ts';
import { describeError, WeirError } from '../runtime/errors.ts';
import { plainKafka } from '../runtime/kafka-client.ts';
import type { EventStream, SimulatedEvent } from './event-stream.ts';
import { eventsDue } from './pacing.ts';

export type KafkaKey = 'card' | 'account' | 'terminal';

export interface KafkaOutputOptions {
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly key: KafkaKey;
  /** Events per second; Infinity for as fast as the broker takes them. */
  readonly perSecond: number;
  /** `live`: the event's time is the time it is sent; `simulated`: the stream's own. */
  readonly eventTime: 'live' | 'simulated';
  /** Creates a missing topic with that many partitions; without it a missing topic is an error. */
  readonly partitions: number | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Sent {
  readonly events: number;
  readonly seconds: number;
}

const tickMs = 5;
/** kafkajs is quadratic in the records of one partition and request, so even all on one must stay few. */
const recordsPerRequest = 500;

/**
 * Sends the events at the given rate, in order per key, until they end or `signal` asks to stop; what was sent
 * is then acknowledged by all replicas. One request is under way at a time.
 * @throws WeirError CONFIG for a missing topic, BROKER when Kafka cannot be reached or refuses.
 */
export async function sendToKafka<T extends SimulatedEvent>(
  stream: Pick<EventStream<T>, 'events' | 'jsonLine'>,
  options: KafkaOutputOptions,
): Promise<Sent> {
  const kafka = plainKafka({ clientId: 'weir-simulate', brokers: [...options.brokers] });
  await asBrokerError(options, () => ensureTopic(kafka, options));
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    idempotent: true,
    maxInFlightRequests: 1,
  });
  try {
    await asBrokerError(options, () => producer.connect());
    return await asBrokerError(options, () => sendPaced(stream, producer, options));
  } finally {
    await producer.disconnect();
  }
}

async function sendPaced<T extends SimulatedEvent>(
  stream: Pick<EventStream<T>, 'events' | 'jsonLine'>,
  producer: Producer,
  options: KafkaOutputOptions,
): Promise<Sent> {
  const { clock, signal, topic } = options;
  const start = clock.monotonic();
  let events = 0;
  let isEnded = false;
  while (!signal.aborted && !isEnded) {
    const due = Math.min(recordsPerRequest, eventsDue(options.perSecond, clock.monotonic() - start, events));
    if (due < 1) {
      await delay(tickMs);
      continue;
    }
    const messages: Message[] = [];
    while (messages.length < due && !isEnded) {
      const { value, done } = stream.events.next();
      if (done) isEnded = true;
      else messages.push(toMessage(value as T, stream, options));
    }
    if (messages.length > 0) await producer.send({ topic, messages, acks: -1 });
    events += messages.length;
  }
  return { events, seconds: (clock.monotonic() - start) / 1000 };
}

function toMessage<T extends SimulatedEvent>(
  event: T,
  stream: Pick<EventStream<T>, 'jsonLine'>,
  { key, eventTime, clock }: KafkaOutputOptions,
): Message {
  // The record's own time is the time of sending in either mode: a broker deletes or refuses records by it.
  const now = clock.now();
  if (eventTime === 'live') event.ts = now;
  return { key: event[key].id, value: stream.jsonLine(event), timestamp: String(now) };
}

async function ensureTopic(kafka: Kafka, { topic, partitions, brokers }: KafkaOutputOptions): Promise<void> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    if ((await admin.listTopics()).includes(topic)) return;
    if (partitions === undefined) {
      const where = brokers.join(',');
      throw new WeirError(
        'CONFIG',
        `the topic ${topic} does not exist on ${where}: create it, or let --partitions N do so`,
      );
    }
    await admin.createTopics({
      topics: [{ topic, numPartitions: partitions, replicationFactor: -1 }],
      waitForLeaders: true,
    });
  } finally {
    await admin.disconnect();
  }
}

async function asBrokerError<T>({ brokers, topic }: KafkaOutputOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof WeirError) throw cause;
    const where = `topic ${topic} on ${brokers.join(',')}`;
    throw new WeirError('BROKER', `cannot send to ${where} (${describeError(cause)}): check --kafka and the broker`, {
      cause,
    });
  }
}
