import type { Kafka, Message, Producer, RecordMetadata } from 'kafkajs';
import { WeirError } from '../../runtime/errors.ts';
import type { PutBack } from '../put-back.ts';
import type { ReplayMark, StoredLetter } from '../stored-letter.ts';
import { brokerFault, isFenced } from './faults.ts';
import { type PartitionMessages, sendApart } from './send.ts';
import { markHeaders } from './stored-letter.ts';
import { takeOver, transactionalProducer } from './transactional-producer.ts';

export interface PutBackOptions {
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
  /** Topic of the dead letters, where the marks go to. */
  readonly deadLetters: string;
  /** Most bytes of what is sent to a partition at once. */
  readonly maxMessageBytes: number;
  readonly brokers: readonly string[];
}

/** Most records of one transaction. */
const mostRecords = 100;
/** What a batch has beside its records, at most. */
const batchOverheadBytes = 1_024;

/**
 * Takes the replay over: nobody who began one before can put back anything more, and what they did is there to be read. Each put is one transaction:
 * the records, each to the end of its stream's partition, and a mark for each beside its letter.
 */
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
    mostRecords,
    // What goes into one partition is one batch: all of a transaction may, and the brokers refuse one that is too long.
    mostBytes: options.maxMessageBytes - batchOverheadBytes,
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
    const marks = marksOf(letters, await sendApart(transaction, byPartition(letters.map(recordOf))));
    await sendApart(
      transaction,
      byPartition(
        letters.map((letter, index) => ({
          topic,
          message: { partition: partitionIn(letter), key: null, value: null, headers: markHeaders(marks[index]) },
        })),
      ),
    );
    await transaction.commit();
    return marks;
  } catch (error) {
    await transaction.abort().catch(() => undefined);
    throw error;
  }
}

/** The partition of the topic in which the letter stands. */
function partitionIn({ at }: StoredLetter): number {
  if ('partition' in at) return at.partition;
  throw new WeirError('INTERNAL', `the letter at ${at.sequence} stands in no topic`);
}

interface Addressed {
  readonly topic: string;
  readonly message: Message & { readonly partition: number };
}

function recordOf({ stream: topic, partition, key, value, timestamp }: StoredLetter): Addressed {
  return {
    topic,
    message: { partition, key, value, timestamp: timestamp === undefined ? undefined : String(timestamp) },
  };
}

function byPartition(records: readonly Addressed[]): PartitionMessages[] {
  const grouped = Map.groupBy(records, ({ topic, message: { partition } }) => `${topic}:${partition}`);
  return [...grouped.values()].map((of) => {
    const [{ topic, message }] = of;
    return { topic, partition: message.partition, messages: of.map(({ message }) => message) };
  });
}

/** Within a partition records stand in the order in which they were sent. */
function marksOf(letters: readonly StoredLetter[], sent: readonly RecordMetadata[]): ReplayMark[] {
  const next = new Map(sent.map((of) => [`${of.topicName}:${of.partition}`, Number(of.baseOffset)]));
  return letters.map(({ stream, partition, offset }) => {
    const replayed = next.get(`${stream}:${partition}`)!;
    next.set(`${stream}:${partition}`, replayed + 1);
    return { stream, partition, offset, replayed };
  });
}
