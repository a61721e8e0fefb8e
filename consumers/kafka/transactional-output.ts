import type { Admin, Transaction } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Output, OutputBatch } from '../ports.ts';
import type { KafkaClient } from './client.ts';
import { committedOffset } from './committed-offset.ts';
import { brokerFault, isFenced, protocolType } from './faults.ts';
import { createSender, type Destination, type Sender } from './send.ts';
import { type TransactionPlace, transactionEnds } from './transaction-end.ts';
import { takeOver, transactionalProducer } from './transactional-producer.ts';

export interface TransactionalParts {
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
  readonly admin: Admin;
  readonly group: string;
  readonly clock: Clock;
  /** The partition whose committed offset of the group is the input position. */
  readonly position: { readonly topic: string; readonly partition: number };
  /** What this process has sent last, by transactional id. */
  readonly lastCommits: Map<string, readonly SentCommit[]>;
}

/** A transaction whose records are in the logs, and whose commit was sent; it may have been answered or not. */
export interface SentCommit {
  /** Which of the producers it was; the last of each is remembered, in the order in which they were sent. */
  readonly turn: number;
  readonly position: number;
  readonly places: readonly TransactionPlace[];
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
  // Should one hang, its own id ends it with the next commit: another's commit in between would lie behind a transaction without end.
  let turn = sent().at(-1)?.turn ?? 0;
  const mayHang = new Set(turns.keys());
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
  return {
    async position() {
      const decided = async () => {
        const undone = await undoneCommits(client, sent());
        if (undone === undefined) return undefined;
        lastCommits.set(transactionalId, sent().slice(0, sent().length - undone));
        turn = sent()[0]?.turn ?? turn;
        return sent().at(-1)?.position;
      };
      return committedPosition(parts, destination, decided);
    },
    async publish(batch, position) {
      try {
        const transaction = await producers[turn].transaction();
        const places = await prepare(transaction, batch, position, { sender, parts, inOrder: mayHang.has(turn) });
        lastCommits.set(transactionalId, [...sent().filter((one) => one.turn !== turn), { turn, position, places }]);
        await transaction.commit();
        mayHang.delete(turn);
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
 * How many of the last commits came to nothing; undefined where a log does not tell, or has aborted one that another counts behind.
 *
 * A transaction that stays unsettled although its id is taken over has lost its end: a broker that is killed right after it took a commit, and that no
 * replica stands in for, may come back without having written all of the markers (KAFKA-20734, seen with Kafka 4.3.1: "likely deleted already and hence
 * can be skipped"). One that no log has aborted counts, and the next commit of the same id makes up for the markers: what had no commit was aborted in
 * all logs when the id was taken over.
 */
async function undoneCommits(client: KafkaClient, sent: readonly SentCommit[]): Promise<number | undefined> {
  const ends = await Promise.all(sent.map(({ places }) => transactionEnds(client, places)));
  const isUndone = ends.map((of) => of.length > 0 && of.every((end) => end === 'aborted'));
  const counting = isUndone.lastIndexOf(false) + 1;
  const isCertain = ends.slice(0, counting).every((of) => of.every((end) => end === 'open' || end === 'committed'));
  return isCertain ? sent.length - counting : undefined;
}

async function committedPosition(
  { admin, clock, group, position, transactionalId }: TransactionalParts,
  destination: Destination,
  decided: () => Promise<number | undefined>,
): Promise<number | undefined> {
  try {
    return await committedOffset(admin, clock, group, position.topic, position.partition, decided);
  } catch (error) {
    throw brokerFault(error, `looking up the position of ${transactionalId}`, destination.brokers);
  }
}

interface Preparation {
  readonly sender: Sender;
  readonly parts: TransactionalParts;
  /** The records first: should it be aborted on the way, and a commit before it hang, then that of the position hangs on and is seen to. */
  readonly inOrder: boolean;
}

/** @returns where the first records stand. */
async function prepare(
  transaction: Transaction,
  batch: OutputBatch,
  position: number,
  { sender, parts, inOrder }: Preparation,
): Promise<readonly TransactionPlace[]> {
  const sending = sender.send(transaction, batch, parts.clock.now());
  const move = () => sendPosition(transaction, position, parts);
  // Else side by side: neither needs the other, and both wait mostly for answers.
  const [sent, offsets] = await Promise.allSettled([sending, inOrder ? sending.then(move) : move()]);
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
  const { topic, partition } = parts.position;
  const topics = [{ topic, partitions: [{ partition, offset: String(position) }] }];
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
