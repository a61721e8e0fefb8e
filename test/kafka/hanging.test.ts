import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createClient } from '../../consumers/kafka/client.ts';
import { Broker } from '../../consumers/kafka/internals.ts';
import { type TransactionPlace, transactionEnds } from '../../consumers/kafka/transaction-end.ts';
import type { Sink } from '../../consumers/ports.ts';
import { deadLetter, event } from '../contract/sink.ts';
import { ownedPartition } from '../support/owned-partition.ts';
import { type Cluster, sinkFor, sourceConfig, startCluster } from './cluster.ts';

let cluster: Cluster;
beforeAll(async () => {
  // Else it asks the coordinator of each transaction whether it knows of it.
  cluster = await startCluster({ settings: { 'transaction.partition.verification.enable': 'false' } });
});
afterAll(async () => {
  await cluster.stop();
});

let sink: Sink | undefined;
afterEach(async () => {
  await sink?.close();
});

/**
 * Meanwhile partitions take part in transactions that their coordinator knows nothing of: a commit leaves no marker anywhere, as where a broker has
 * lost those that it was to write, and has no answer.
 */
async function whileMarkersAreLost(work: () => Promise<void>): Promise<void> {
  const { addPartitionsToTxn, addOffsetsToTxn, endTxn } = Broker.prototype;
  const nothing = async () => ({ errors: [], errorCode: 0 });
  const noAnswer = async () => {
    throw Object.assign(new Error('Closed connection'), { name: 'KafkaJSConnectionClosedError' });
  };
  Object.assign(Broker.prototype, { addPartitionsToTxn: nothing, addOffsetsToTxn: nothing, endTxn: noAnswer });
  try {
    await work();
  } finally {
    Object.assign(Broker.prototype, { addPartitionsToTxn, addOffsetsToTxn, endTxn });
  }
}

describe('a transaction that was committed and hangs', () => {
  async function publishThree() {
    const topics = { input: await cluster.topic(), topic: await cluster.topic(), dead_letters: await cluster.topic() };
    const made = sinkFor(sourceConfig(cluster.brokers, topics.input), topics);
    sink = made;
    const open = () => made.open(ownedPartition(topics.input));
    const output = await open();
    for (let n = 0; n < 3; n++) await output.publish({ events: [event(n)], deadLetters: [] }, n + 1);
    const hangs = { events: [event(3)], deadLetters: [deadLetter(4, Buffer.from('x'))] };
    await whileMarkersAreLost(() => expect(output.publish(hangs, 5)).rejects.toMatchObject({ code: 'BROKER' }));
    await output.close();
    const idsOf = async (topic: string) => (await cluster.read(topic)).map(({ headers }) => headers.ce_id);
    return {
      topic: topics.topic,
      open,
      published: () => idsOf(topics.topic),
      letters: async () => (await cluster.read(topics.dead_letters)).length,
    };
  }

  const ids = (count: number) => Array.from({ length: count }, (_, n) => event(n).id);

  it('counts for the process that sent its commit, which ends it in all of its partitions', async () => {
    const { open, published, letters } = await publishThree();
    const output = await open();
    expect([await output.position(), await published(), await letters()]).toEqual([5, ids(4), 1]);
    await output.publish({ events: [event(4)], deadLetters: [] }, 6);
    expect(await published()).toEqual(ids(5));
    await output.close();
    expect(await (await open()).position()).toBe(6);
  });

  it('comes to nothing in all of its partitions where somebody has aborted it in one', async () => {
    const { topic, open, published, letters } = await publishThree();
    // Of the last stable record: where the open transaction begins.
    const [{ offset }] = await cluster.admin.fetchTopicOffsets(topic);
    const broker = ['--bootstrap-server', cluster.brokers.join(',')];
    const args = [...broker, 'abort', '--topic', topic, '--partition', '0', '--start-offset', offset];
    await cluster.service.tool('org.apache.kafka.tools.TransactionsCommand', args);
    const output = await open();
    expect([await output.position(), await published(), await letters()]).toEqual([3, ids(3), 0]);
    await output.publish({ events: [event(3)], deadLetters: [] }, 4);
    expect(await published()).toEqual(ids(4));
  });
});

describe('what a log says of a transaction', () => {
  it('is its first marker behind the record, whatever others have there', async () => {
    const topic = await cluster.topic();
    const client = createClient(sourceConfig(cluster.brokers, topic));
    const begin = async (id: string) => (await cluster.producer(`${id}-${topic}`)).transaction();
    const send = async (to: Awaited<ReturnType<typeof begin>>): Promise<TransactionPlace> => {
      const [{ partition, baseOffset }] = await to.send({ topic, messages: [{ partition: 0, value: 'x' }] });
      return { topic, partition, offset: Number(baseOffset) };
    };
    const ends = (...places: TransactionPlace[]) => transactionEnds(client, places);

    expect(await ends()).toEqual([]);
    const first = await begin('a');
    const other = await begin('b');
    const one = await send(first);
    const two = await send(other);
    expect(await ends(one, two)).toEqual(['open', 'open']);
    await other.abort();
    expect(await ends(one, two)).toEqual(['open', 'aborted']);
    await first.commit();
    expect(await ends(one, two)).toEqual(['committed', 'aborted']);
    expect(await ends({ ...one, offset: 1_000 })).toEqual(['unknown']);
  });
});
