import kafkajs, { type PartitionMetadata, type RecordMetadata, type TopicMessages, type Transaction } from 'kafkajs';
import { WeirError } from '../../runtime/errors.ts';
import type { OutputBatch, OutputEvent } from '../ports.ts';
import { compressRecords } from './codecs.ts';
import { encodedMessages } from './encoded-messages.ts';
import { isFenced } from './faults.ts';
import { fitLetter, type SentLetter } from './fitting.ts';
import { type EncodedRecords, encodeRecords, type RecordLayout, recordSizes } from './record-batch.ts';
import type { TransactionPlace } from './transaction-end.ts';

/** Where one input partition's output goes. */
export interface Destination {
  readonly events: TopicDestination<OutputEvent>;
  readonly deadLetters: TopicDestination<SentLetter>;
  /** Most bytes of a record batch that the brokers take (max.message.bytes of the topics). */
  readonly maxMessageBytes: number;
  readonly compression: 'none' | 'gzip' | 'zstd';
  readonly brokers: readonly string[];
}

export interface TopicDestination<R> {
  readonly topic: string;
  readonly layout: RecordLayout<R>;
  /** Undefined: by key. */
  readonly partition: number | undefined;
  /** How many partitions the topic has. */
  readonly partitions: number;
}

/** What a batch has beside its records, and what compression may add to bytes that cannot be compressed. */
const batchOverheadBytes = 1_024;
/** A record's own length in front of it. */
const lengthBytes = 5;

/** Sends one output's batches, one at a time. */
export interface Sender {
  /**
   * Sends events and dead letters, those of one partition in order, request after request; resolves when the brokers have them all. After a
   * rejection the sender is not to be used any more.
   * @param timestamp of all records, milliseconds since the epoch.
   * @returns where the first of each request to a partition stands.
   */
  send(to: Pick<Transaction, 'sendBatch'>, batch: OutputBatch, timestamp: number): Promise<TransactionPlace[]>;
}

export function createSender({ events, deadLetters, maxMessageBytes, compression }: Destination): Sender {
  const mostBytes = maxMessageBytes - batchOverheadBytes;
  const memory = createMemory();
  return {
    async send(to, batch, timestamp) {
      memory.reuse();
      const encoding = { compression, timestamp, mostBytes, allocate: memory.allocate };
      const letters = batch.deadLetters.map((of) => fitLetter(of, deadLetters.layout, mostBytes - lengthBytes));
      const streams = [await encode(batch.events, events, encoding), await encode(letters, deadLetters, encoding)];
      const places: TransactionPlace[] = [];
      for (let turn = 0; ; turn++) {
        const shares = streams.flatMap((stream) => sharesOf(stream, turn));
        if (shares.length === 0) return places;
        for (const { topicName, partition, baseOffset } of await sendApart(to, shares.map(messagesOf)))
          places.push({ topic: topicName, partition, offset: Number(baseOffset) });
      }
    },
  };
}

/** Memory of one batch, used again by the next: new memory each time would cost as much as all of the writing. */
function createMemory() {
  const parts: Buffer[] = [];
  let used = 0;
  return {
    reuse() {
      used = 0;
    },
    allocate(bytes: number): Buffer {
      if (used === parts.length || parts[used].length < bytes)
        parts[used] = Buffer.allocUnsafeSlow(bytes + (bytes >> 2));
      return parts[used++];
    },
  };
}

interface Encoding {
  readonly compression: Destination['compression'];
  readonly timestamp: number;
  /** Of a batch's records. */
  readonly mostBytes: number;
  readonly allocate: (bytes: number) => Buffer;
}

/** A topic's encoded records: for each partition the requests' shares, in order. */
interface EncodedStream {
  readonly topic: string;
  readonly byPartition: ReadonlyMap<number, readonly EncodedRecords[]>;
}

/** What one request sends to one partition. */
interface Share {
  readonly topic: string;
  readonly partition: number;
  readonly records: EncodedRecords;
}

function sharesOf({ topic, byPartition }: EncodedStream, turn: number): Share[] {
  const shares: Share[] = [];
  for (const [partition, batches] of byPartition)
    if (turn < batches.length) shares.push({ topic, partition, records: batches[turn] });
  return shares;
}

export interface PartitionMessages extends TopicMessages {
  readonly partition: number;
}

/**
 * Sends each partition's messages by a call of their own, all at a time; when it ends, none is under way any more. One call for several
 * brokers begins again when one of them fails: what another has taken, or takes meanwhile, is then sent to it once more as something new.
 * @returns where they stand now, in the order of the messages.
 * @throws WeirError BROKER when one was not acknowledged: a partition that it does not know, the client leaves out without a word.
 */
export async function sendApart(
  to: Pick<Transaction, 'sendBatch'>,
  messages: readonly PartitionMessages[],
): Promise<RecordMetadata[]> {
  const sent = await Promise.allSettled(messages.map((one) => sendOne(to, one)));
  const failures = sent.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (failures.length > 0) throw failures.find(isFenced) ?? failures[0];
  return sent.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}

async function sendOne(
  to: Pick<Transaction, 'sendBatch'>,
  { topic, partition, messages }: PartitionMessages,
): Promise<RecordMetadata> {
  const answers = await to.sendBatch({ acks: -1, topicMessages: [{ topic, messages }] });
  const answer = answers.find((one) => one.topicName === topic && one.partition === partition);
  if (answer !== undefined) return answer;
  const message = `the brokers did not acknowledge what was sent to ${topic}:${partition}`;
  throw new WeirError(
    'BROKER',
    `${message}: the client takes it for a partition that does not exist; it is sent again`,
  );
}

function messagesOf({ topic, partition, records }: Share): PartitionMessages {
  return { topic, partition, messages: encodedMessages(new Map([[partition, records]])) };
}

async function encode<R>(
  records: readonly R[],
  destination: TopicDestination<R>,
  encoding: Encoding,
): Promise<EncodedStream> {
  const byPartition = new Map<number, EncodedRecords[]>();
  for (const [partition, share] of placed(records, destination)) {
    const batches = encodeAll(share, destination.layout, encoding);
    byPartition.set(partition, await Promise.all(batches.map((batch) => compressRecords(batch, encoding.compression))));
  }
  return { topic: destination.topic, byPartition };
}

/** Records by partition. */
function placed<R>(records: readonly R[], { partition, ...keyed }: TopicDestination<R>): Map<number, readonly R[]> {
  if (records.length === 0) return new Map();
  return partition === undefined ? placedByKey(records, keyed) : new Map([[partition, records]]);
}

function placedByKey<R>(
  records: readonly R[],
  { topic, layout, partitions }: Omit<TopicDestination<R>, 'partition'>,
): Map<number, R[]> {
  const partitioner = kafkajs.Partitioners.DefaultPartitioner();
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({ partitionId, leader: 0 }));
  const shares = new Map<number, R[]>();
  for (const record of records) {
    const message = { key: layout.key(record), value: null };
    const partition = partitioner({ topic, partitionMetadata: partitionMetadata as PartitionMetadata[], message });
    const share = shares.get(partition);
    if (share === undefined) shares.set(partition, [record]);
    else share.push(record);
  }
  return shares;
}

/** As few batches as the brokers accept. A record that is too large alone goes alone: the broker decides. */
function encodeAll<R>(
  records: readonly R[],
  layout: RecordLayout<R>,
  { timestamp, mostBytes, allocate }: Encoding,
): EncodedRecords[] {
  const sizes = recordSizes(records, layout);
  const batches: EncodedRecords[] = [];
  for (let from = 0, to = 0, bytes = 0; to < records.length; from = to, bytes = 0) {
    do bytes += sizes[to++] + lengthBytes;
    while (to < records.length && bytes + sizes[to] + lengthBytes <= mostBytes);
    batches.push(encodeRecords(records, layout, sizes, from, to, timestamp, allocate));
  }
  return batches;
}
