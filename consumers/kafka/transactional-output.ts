import type { Admin, Transaction } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Output, OutputBatch } from '../ports.ts';
import type { KafkaClient } from './client.ts';
import { committedOffset } from './committed-offset.ts';
import { brokerFault, isFenced, protocolType } from './faults.ts';
import { createSender, type Destination, type Sender } from './send.ts';
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
  readonly lastCommits: Map<string, LastCommit>;
}

export interface LastCommit {
  /** Undefined: without an answer, it may be decided or not. */
  readonly acknowledged: number | undefined;
  /** Which of the producers it was. */
  readonly turn: number;
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
  // Should the last commit hang, its own id ends it with the next one: another's commit in between would lie behind a transaction without end.
  let turn = lastCommits.get(transactionalId)?.turn ?? 0;
  let mayHang = true;
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
    position: () => committedPosition(parts, destination),
    async publish(batch, position) {
      try {
        const transaction = await producers[turn].transaction();
        // What an abort ends of a commit that hangs is not done: by then it must not count as acknowledged.
        if (mayHang) lastCommits.set(transactionalId, { acknowledged: undefined, turn });
        await prepare(transaction, batch, position, { sender, parts, inOrder: mayHang });
        // Without an answer it may be decided, and what was acknowledged before is not the position any more.
        lastCommits.set(transactionalId, { acknowledged: undefined, turn });
        await transaction.commit();
        lastCommits.set(transactionalId, { acknowledged: position, turn });
        mayHang = false;
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
 * The group's committed offset. A transaction that stays unsettled although its id is taken over has lost its end: a broker that is
 * killed right after it acknowledged a commit, and that no replica stands in for, may come back without having written the markers
 * (KAFKA-20734, seen with Kafka 4.3.1: "likely deleted already and hence can be skipped"). If the commit was acknowledged to this process, and
 * none was sent since, it goes on from there: the next commit of the same id makes up for the markers.
 */
async function committedPosition(
  { admin, clock, group, position, transactionalId, lastCommits }: TransactionalParts,
  destination: Destination,
): Promise<number | undefined> {
  try {
    return await committedOffset(
      admin,
      clock,
      group,
      position.topic,
      position.partition,
      lastCommits.get(transactionalId)?.acknowledged,
    );
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

async function prepare(
  transaction: Transaction,
  batch: OutputBatch,
  position: number,
  { sender, parts, inOrder }: Preparation,
): Promise<void> {
  const sending = sender.send(transaction, batch, parts.clock.now());
  const move = () => sendPosition(transaction, position, parts);
  // Else side by side: neither needs the other, and both wait mostly for answers.
  const [sent, offsets] = await Promise.allSettled([sending, inOrder ? sending.then(move) : move()]);
  const failures = [sent, offsets].flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  if (failures.length === 0) return;
  // A kindness to subscribers, who wait for open transactions; the next open aborts it anyway.
  transaction.abort().catch(() => undefined);
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
