import kafkajs, { type CompressionTypes, type TopicMessages, type Transaction } from 'kafkajs';
import type { OutputBatch } from '../ports.ts';
import { deadLetterMessages, eventMessages } from './records.ts';

/** Where one input partition's output goes. */
export interface Destination {
  readonly topic: string;
  /** Undefined: by key. */
  readonly partition: number | undefined;
  readonly deadLetterTopic: string;
  readonly deadLetterPartition: number | undefined;
  /** CloudEvents source and type. */
  readonly source: string;
  readonly type: string;
  readonly compression: 'none' | 'gzip' | 'zstd';
  readonly brokers: readonly string[];
}

/** The client's cost for a request grows with the square of its records per partition: no more than this in one. */
const recordsPerRequest = 1_000;
/** Brokers take 1,048,588 bytes of one partition in a request unless told otherwise (message.max.bytes). */
const bytesPerRequest = 1_000_000;
/** Bytes of a record besides key and value: headers, lengths. A dead letter's message comes on top. */
const recordOverhead = 256;

/** Sends events and dead letters in order, request after request; resolves when the brokers have them all. */
export async function sendBatch(
  to: Pick<Transaction, 'sendBatch'>,
  batch: OutputBatch,
  destination: Destination,
): Promise<void> {
  const compression = compressionType(destination.compression);
  const events = requestSizes(batch.events, ({ key, data }) => recordOverhead + (key?.length ?? 0) + data.length);
  const letters = requestSizes(
    batch.deadLetters,
    ({ key, value, message }) => recordOverhead + message.length * 3 + (key?.length ?? 0) + (value?.length ?? 0),
  );
  for (let turn = 0, event = 0, letter = 0; turn < Math.max(events.length, letters.length); turn++) {
    const [nextEvent, nextLetter] = [event + (events[turn] ?? 0), letter + (letters[turn] ?? 0)];
    const part = {
      events: batch.events.slice(event, nextEvent),
      deadLetters: batch.deadLetters.slice(letter, nextLetter),
    };
    await to.sendBatch({ acks: -1, compression, topicMessages: toMessages(part, destination) });
    [event, letter] = [nextEvent, nextLetter];
  }
}

/** How many records go into each request. A record that is too large alone goes alone: the broker decides. */
function requestSizes<T>(records: readonly T[], bytesOf: (record: T) => number): number[] {
  const sizes: number[] = [];
  let count = 0;
  let bytes = 0;
  for (const record of records) {
    const size = bytesOf(record);
    if (count > 0 && (count === recordsPerRequest || bytes + size > bytesPerRequest)) {
      sizes.push(count);
      [count, bytes] = [0, 0];
    }
    count++;
    bytes += size;
  }
  if (count > 0) sizes.push(count);
  return sizes;
}

function toMessages({ events, deadLetters }: OutputBatch, destination: Destination): TopicMessages[] {
  const topicMessages: TopicMessages[] = [];
  if (events.length > 0) {
    const messages = eventMessages(events, destination.source, destination.type, destination.partition);
    topicMessages.push({ topic: destination.topic, messages });
  }
  if (deadLetters.length > 0) {
    const messages = deadLetterMessages(deadLetters, destination.deadLetterPartition);
    topicMessages.push({ topic: destination.deadLetterTopic, messages });
  }
  return topicMessages;
}

function compressionType(name: Destination['compression']): CompressionTypes {
  const { GZIP, None, ZSTD } = kafkajs.CompressionTypes;
  return { none: None, gzip: GZIP, zstd: ZSTD }[name];
}
