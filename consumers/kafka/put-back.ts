import type { Kafka, Message, Producer, RecordMetadata } from 'kafkajs';
import { WeirError } from '../../runtime/errors.ts';
import { brokerFault, isFenced } from './faults.ts';
import { markHeaders, type ReplayMark, type StoredLetter } from './stored-letter.ts';
import { takeOver, transactionalProducer } from './transactional-producer.ts';

export interface PutBackOptions {
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
  /** Topic of the dead letters, where the marks go to. */
  readonly deadLetters: string;
  readonly brokers: readonly string[];
}

/** Puts records of dead letters back where they were read. */
export interface PutBack {
  /**
   * In one transaction: the records, each to the end of its stream's partition, and a mark for each beside its letter.
   * @returns the marks, in the order of the letters.
   * @throws WeirError FENCED when somebody else has taken the replay over; BROKER else. Whether it was done, the marks say.
   */
  put(letters: readonly StoredLetter[]): Promise<ReplayMark[]>;
  close(): Promise<void>;
}

/** Takes the replay over: nobody who began one before can put back anything more, and what they did is there to be read. */
export async function openPutBack(client: Kafka, options: PutBackOptions): Promise<PutBack> {
  const producer = transactionalProducer(client, options.transactionalId, options.transactionTimeoutMs);
  const fault = (error: unknown): WeirError =>
    isFenced(error)
      ? new WeirError(
          'FENCED',
          'somebody else has begun a replay meanwhile: what is not put back by now is left to them; the command may be run again',
        )
      : brokerFault(error, `replaying as ${options.transactionalId}`, options.brokers);
  try {
    await takeOver(producer);
  } catch (error) {
    await producer.disconnect().catch(() => undefined);
    throw fault(error);
  }
  return {
    put: (letters) =>
      putAll(producer, letters, options.deadLetters).catch((error: unknown) => {
        throw fault(error);
      }),
    close: () => producer.disconnect().catch(() => undefined),
  };
}

async function putAll(producer: Producer, letters: readonly StoredLetter[], topic: string): Promise<ReplayMark[]> {
  const transaction = await producer.transaction();
  try {
    const sent = await transaction.sendBatch({ acks: -1, topicMessages: byTopic(letters.map(recordOf)) });
    const marks = marksOf(letters, sent);
    const messages = letters.map(({ at }, index) => ({
      partition: at.partition,
      key: null,
      value: null,
      headers: markHeaders(marks[index]),
    }));
    const marked = await transaction.send({ acks: -1, topic, messages });
    demandAcknowledged(
      letters.map(({ at }) => `${topic}:${at.partition}`),
      marked,
    );
    await transaction.commit();
    return marks;
  } catch (error) {
    await transaction.abort().catch(() => undefined);
    throw error;
  }
}

function recordOf({ stream, partition, key, value, timestamp }: StoredLetter): [string, Message] {
  return [stream, { partition, key, value, timestamp: timestamp === undefined ? undefined : String(timestamp) }];
}

function byTopic(records: readonly [string, Message][]): { topic: string; messages: Message[] }[] {
  const grouped = Map.groupBy(records, ([topic]) => topic);
  return [...grouped].map(([topic, of]) => ({ topic, messages: of.map(([, message]) => message) }));
}

/** Within a partition records stand in the order in which they were sent. */
function marksOf(letters: readonly StoredLetter[], sent: readonly RecordMetadata[]): ReplayMark[] {
  demandAcknowledged(
    letters.map(({ stream, partition }) => `${stream}:${partition}`),
    sent,
  );
  const next = new Map(sent.map((of) => [`${of.topicName}:${of.partition}`, Number(of.baseOffset)]));
  return letters.map(({ stream, partition, offset }) => {
    const replayed = next.get(`${stream}:${partition}`)!;
    next.set(`${stream}:${partition}`, replayed + 1);
    return { stream, partition, offset, replayed };
  });
}

/** The client leaves a partition out without a word whose leader changes while it sends. */
function demandAcknowledged(partitions: readonly string[], sent: readonly RecordMetadata[]): void {
  const acknowledged = new Set(sent.map(({ topicName, partition }) => `${topicName}:${partition}`));
  const missing = partitions.find((partition) => !acknowledged.has(partition));
  if (missing !== undefined) throw new Error(`what was sent to ${missing} was not acknowledged; run the command again`);
}
