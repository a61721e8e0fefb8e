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

/** Sends events and dead letters in order, request after request; resolves when the brokers have them all. */
export async function sendBatch(
  to: Pick<Transaction, 'sendBatch'>,
  batch: OutputBatch,
  destination: Destination,
): Promise<void> {
  const compression = compressionType(destination.compression);
  const most = Math.max(batch.events.length, batch.deadLetters.length);
  for (let from = 0; from < most; from += recordsPerRequest) {
    const topicMessages = request(batch, from, destination);
    await to.sendBatch({ acks: -1, compression, topicMessages });
  }
}

function request(batch: OutputBatch, from: number, destination: Destination): TopicMessages[] {
  const events = batch.events.slice(from, from + recordsPerRequest);
  const deadLetters = batch.deadLetters.slice(from, from + recordsPerRequest);
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
