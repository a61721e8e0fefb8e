import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createClient } from '../../consumers/kafka/client.ts';
import { kafkaSinkConfig, sinkConnection } from '../../consumers/kafka/config.ts';
import { Broker } from '../../consumers/kafka/internals.ts';
import { createKafkaSink } from '../../consumers/kafka/sink.ts';
import { type TransactionPlace, transactionEnds } from '../../consumers/kafka/transaction-end.ts';
import type { Sink } from '../../consumers/ports.ts';
import { systemClock } from '../../runtime/clock.ts';
import { event } from '../contract/sink.ts';
import { ownedPartition } from '../support/owned-partition.ts';
import { type Cluster, sourceConfig, startCluster } from './cluster.ts';

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
  it('counts for the process that sent its commit, which ends it with the next', async () => {
    const topics = { input: await cluster.topic(), topic: await cluster.topic(), dead_letters: await cluster.topic() };
    const source = sourceConfig(cluster.brokers, topics.input);
    const config = kafkaSinkConfig.parse({ topic: topics.topic, dead_letters: topics.dead_letters });
    const made = createKafkaSink(config, {
      connection: sinkConnection(config, source)!,
      job: 'test-job',
      group: source.group,
      delivery: 'exactly-once',
      sourceIsKafka: true,
      clock: systemClock,
    });
    sink = made;
    const publish = async (output: Awaited<ReturnType<Sink['open']>>, from: number, to: number) => {
      for (let n = from; n < to; n++) await output.publish({ events: [event(n)], deadLetters: [] }, n + 1);
    };
    const ids = async () => (await cluster.read(topics.topic)).map(({ headers }) => headers.ce_id);
    const output = await made.open(ownedPartition(topics.input));
    await publish(output, 0, 3);
    await whileMarkersAreLost(() => expect(publish(output, 3, 4)).rejects.toMatchObject({ code: 'BROKER' }));
    await output.close();

    const next = await made.open(ownedPartition(topics.input));
    expect(await next.position()).toBe(4);
    await publish(next, 4, 6);
    expect(await ids()).toEqual([0, 1, 2, 3, 4, 5].map((n) => event(n).id));
    await next.close();
    expect(await (await made.open(ownedPartition(topics.input))).position()).toBe(6);
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
    expect(await ends({ ...one, offset: 1_000 })).toEqual(['gone']);
  });
});
