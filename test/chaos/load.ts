import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type Message, type PartitionMetadata, type Producer } from 'kafkajs';
import { plainKafka } from '../../runtime/kafka-client.ts';
import type { InputRecord } from './input.ts';

/** How fast a load is. */
export interface Pace {
  readonly perSecond: number;
  /** Sends more than that while fewer than so many records wait: the job never reaches the log's end. */
  readonly backlog?: { readonly least: number; dealtWith(): Promise<number> };
}

/** Sends records at a steady rate, whatever happens to the brokers, until it is stopped. */
export interface Load {
  /** How many records the brokers have. */
  readonly sent: () => number;
  /**
   * The topic has grown. Records of keys that go to another partition now are held from here on until `release`; the others go on. Resolves
   * once nothing that is held is under way.
   */
  grow(partitions: number): Promise<void>;
  release(): void;
  /** Resolves when everything is in the topic. */
  stop(): Promise<void>;
  /** Ends, whatever is in the topic by now. */
  abandon(): Promise<void>;
}

const tickMs = 20;
const longestRequest = 500;

export function startLoad(
  brokers: readonly string[],
  topic: string,
  records: Iterator<InputRecord>,
  { perSecond, backlog, partitions }: Pace & { readonly partitions: number },
): Load {
  const place = kafkajs.Partitioners.DefaultPartitioner();
  const partitionOf = (key: string, count: number) => {
    const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({ partitionId, leader: 0 }));
    return place({ topic, partitionMetadata: partitionMetadata as PartitionMetadata[], message: { key, value: null } });
  };
  const sender = createSender(brokers, topic);
  let before = partitions;
  let now = partitions;
  let held: Message[] = [];
  let released: Message[] = [];
  let sent = 0;
  let isStopped = false;
  let turn = Promise.resolve();

  function next(): Message {
    const { value: record } = records.next() as { value: InputRecord };
    const partition = partitionOf(record.key, now);
    const headers = record.spoilt === undefined ? undefined : { spoilt: record.spoilt };
    return { key: record.key, value: record.value, partition, headers };
  }

  async function sendDue(due: number): Promise<void> {
    const messages = released;
    released = [];
    for (let count = 0; count < due; count++) {
      const message = next();
      if (partitionOf(String(message.key), before) === message.partition) messages.push(message);
      else held.push(message);
    }
    if (messages.length > 0) await sender.send(messages);
    sent += messages.length;
  }

  async function run(): Promise<void> {
    const startedAt = performance.now();
    let taken = 0;
    while (!isStopped) {
      const steady = Math.floor(((performance.now() - startedAt) * perSecond) / 1000) - taken;
      const missing = backlog === undefined ? 0 : backlog.least + (await backlog.dealtWith()) - sent;
      const due = Math.min(longestRequest, Math.max(steady, missing));
      turn = sendDue(due);
      await turn;
      // What comes on top of the rate does not slow it down afterwards.
      taken += Math.min(due, steady);
      await delay(tickMs);
    }
    await sendDue(0);
  }
  const running = run();
  // Looked at when it is stopped.
  running.catch(() => undefined);

  return {
    sent: () => sent,
    async grow(count) {
      now = count;
      await turn;
      // A client leaves out, without a word, what is for partitions that it does not know yet.
      await sender.forget();
    },
    release() {
      before = now;
      released = held;
      held = [];
    },
    async stop() {
      isStopped = true;
      await running.finally(() => sender.close());
    },
    async abandon() {
      isStopped = true;
      await sender.close();
    },
  };
}

/**
 * Sends until the brokers have it. What was sent by a producer that failed is sent again by another, so a record may stand in the topic
 * twice: a repetition, as real producers make them.
 */
function createSender(brokers: readonly string[], topic: string) {
  // Also for connecting, or the client waits up to five seconds for a broker that is back.
  const retry = { initialRetryTime: 50, maxRetryTime: 500, retries: 10 };
  const kafka = plainKafka({ clientId: 'chaos-load', brokers: [...brokers], requestTimeout: 10_000, retry });
  let connected: Promise<Producer> | undefined;
  let isClosed = false;

  async function connect(): Promise<Producer> {
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false, retry });
    await producer.connect();
    return producer;
  }

  async function forget(): Promise<void> {
    const last = connected;
    connected = undefined;
    await last?.then((producer) => producer.disconnect()).catch(() => undefined);
  }

  return {
    forget,
    async send(messages: Message[]): Promise<void> {
      while (!isClosed) {
        try {
          connected ??= connect();
          await (await connected).send({ topic, messages, acks: -1 });
          return;
        } catch {
          await forget();
          await delay(100);
        }
      }
    },
    async close() {
      isClosed = true;
      await forget();
    },
  };
}
