import type { Admin, Producer, Transaction } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { InputMark, Output, OutputBatch } from '../ports.ts';
import type { KafkaClient } from './client.ts';
import { carriedOutOffsets, committedOffset, unsettled } from './committed-offset.ts';
import { brokerFault, isFenced, protocolType } from './faults.ts';
import { endingsOf, type SentCommit, takingPart } from './hanging.ts';
import { createSender, type Destination, type Sender } from './send.ts';
import { type TransactionEnd, type TransactionPlace, transactionEnds } from './transaction-end.ts';
import { takeOver, transactionalProducer } from './transactional-producer.ts';

export interface TransactionalParts {
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
  readonly admin: Admin;
  readonly group: string;
  readonly clock: Clock;
  /** The partition whose committed offset of the group is the input position, and what is kept with it. */
  readonly position: { readonly topic: string; readonly partition: number; readonly mark?: InputMark };
  /** By transactional id the last commit of each producer that this process has sent, in the order in which they were. */
  readonly lastCommits: Map<string, readonly SentCommit[]>;
}

/**
 * Exactly-once: records and the input position in one transaction. The output takes its transactional ids over before it looks
 * at the position: a former owner's open transactions are aborted by that, its finished ones are in the position, and it can commit
 * nothing more. A commit whose answer is lost is settled the same way by the next open.
 *
 * Two producers take turns: brokers answer a producer that comes back right after its commit with CONCURRENT_TRANSACTIONS until the
 * markers of that commit are written, the other one need not wait.
 */
export async function openTransactionalOutput(
  client: KafkaClient,
  destination: Destination,
  parts: TransactionalParts,
): Promise<Output> {
  const producers = turns.map((name) =>
    transactionalProducer(client, `${parts.transactionalId}.${name}`, parts.transactionTimeoutMs),
  );
  const sender = createSender(destination);
  const { lastCommits, transactionalId } = parts;
  const sent = () => lastCommits.get(transactionalId) ?? [];
  let turn = 0;
  const close = async () => {
    await Promise.all(producers.map((producer) => producer.disconnect().catch(() => undefined)));
  };
  // All of them to their ends: one that went on in the background would fence the next output of this very process.
  const fences = await Promise.allSettled(producers.map(takeOver));
  const failed = fences.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await close();
    throw failed.reason;
  }
  const look = () => endsOf(client, sent());
  const settle = async (ends: Ends) => {
    try {
      await endHanging(producers, sent(), ends, parts);
    } catch (error) {
      // What passes is tried again by whoever opens or asks.
      throw isFenced(error) ? fault(error, destination, parts) : error;
    }
  };
  try {
    const ends = await look();
    if (ends.flat().includes('open')) await settle(ends);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async position() {
      const position = await committedPosition(parts, destination, async () => settle(await look()));
      // None of them can change anything any more; those behind it will not have been sent behind these.
      lastCommits.delete(transactionalId);
      return position;
    },
    async publish(batch, position) {
      try {
        const transaction = await producers[turn].transaction();
        const places = await prepare(transaction, batch, position, sender, parts);
        lastCommits.set(transactionalId, [...sent().filter((one) => one.turn !== turn), { turn, position, places }]);
        await transaction.commit();
        turn = (turn + 1) % producers.length;
      } catch (error) {
        throw fault(error, destination, parts);
      }
    },
    close,
  };
}

const turns = ['a', 'b'];

/**
 * Ends what hangs of the commits that this process has sent. A transaction has lost its end where its id is taken over and it is not
 * settled: a broker that is killed right after it took a commit, and that no replica stands in for, may come back without having written all of
 * the markers (KAFKA-20734, seen with Kafka 4.3.1: "likely deleted already and hence can be skipped"). The markers of the next transaction of
 * the same id make up for them, in the partitions that take part in it. Broken off, it is an abort, and so is the next try.
 * @throws WeirError BROKER where it cannot be told how they have to end; else what the client throws.
 */
async function endHanging(
  producers: readonly Producer[],
  sent: readonly SentCommit[],
  ends: Ends,
  parts: TransactionalParts,
): Promise<void> {
  const { admin, group, position: of } = parts;
  const endings = endingsOf(sent, ends);
  if (endings === undefined) throw unsettled(group, of.topic, of.partition);
  for (const { turn, position, places, isCommit, isOpen } of endings) {
    const carriedOut = (await carriedOutOffsets(admin, parts.clock, group, of.topic)).get(of.partition) ?? 0;
    // Somebody else's moves the position, and what is said now would win over it.
    if (isCommit && !isOpen && position <= carriedOut) continue;
    const transaction = await producers[turn].transaction();
    // Of two offsets the one that is said later counts.
    await takingPart(places, () => sendPosition(transaction, Math.max(position, carriedOut), parts));
    await (isCommit ? transaction.commit() : transaction.abort());
  }
}

/** What the logs say, by commit and place. */
type Ends = readonly (readonly TransactionEnd[])[];

async function endsOf(client: KafkaClient, sent: readonly SentCommit[]): Promise<Ends> {
  const places = sent.flatMap((one) => one.places);
  const ends = await transactionEnds(client, places);
  return sent.map((one) => one.places.map((place) => ends[places.indexOf(place)]));
}

async function committedPosition(
  { admin, clock, group, position, transactionalId }: TransactionalParts,
  destination: Destination,
  settle: () => Promise<void>,
): Promise<number | undefined> {
  try {
    return await committedOffset(admin, clock, group, position.topic, position.partition, settle);
  } catch (error) {
    throw brokerFault(error, `looking up the position of ${transactionalId}`, destination.brokers);
  }
}

/** @returns where the first records stand. */
async function prepare(
  transaction: Transaction,
  batch: OutputBatch,
  position: number,
  sender: Sender,
  parts: TransactionalParts,
): Promise<readonly TransactionPlace[]> {
  // Side by side: neither needs the other, and both wait mostly for answers.
  const [sent, offsets] = await Promise.allSettled([
    sender.send(transaction, batch, parts.clock.now()),
    sendPosition(transaction, position, parts),
  ]);
  if (sent.status === 'fulfilled' && offsets.status === 'fulfilled') return sent.value;
  // A kindness to subscribers, who wait for open transactions; the next open aborts it anyway.
  transaction.abort().catch(() => undefined);
  const failures = [sent, offsets].flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  // Of two that fail in different words, the one that names the cause.
  throw failures.find(isFenced) ?? failures[0];
}

const concurrentWaitMs = 5;
const concurrentAttempts = 400;

async function sendPosition(transaction: Transaction, position: number, parts: TransactionalParts): Promise<void> {
  const { topic, partition, mark } = parts.position;
  const topics = [{ topic, partitions: [{ partition, offset: String(position), metadata: mark?.text }] }];
  for (let attempt = 1; ; attempt++) {
    try {
      return await transaction.sendOffsets({ consumerGroupId: parts.group, topics });
    } catch (error) {
      // The client repeats this for records but not for offsets.
      if (protocolType(error) !== 'CONCURRENT_TRANSACTIONS' || attempt === concurrentAttempts) throw error;
      await parts.clock.sleep(concurrentWaitMs);
    }
  }
}

function fault(error: unknown, destination: Destination, { transactionalId }: TransactionalParts): WeirError {
  if (isFenced(error)) {
    return new WeirError('FENCED', `another process has taken over the output ${transactionalId}`, { cause: error });
  }
  const topics = `${destination.events.topic} and ${destination.deadLetters.topic}`;
  return brokerFault(error, `publishing to ${topics} as ${transactionalId}`, destination.brokers);
}
