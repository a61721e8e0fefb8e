import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Admin } from 'kafkajs';
import { createClient } from '../../consumers/kafka/client.ts';
import { kafkaSinkConfig, sinkConnection } from '../../consumers/kafka/config.ts';
import { createFetcher, type Feed, type Fetcher } from '../../consumers/kafka/fetcher.ts';
import { createKafkaSink } from '../../consumers/kafka/sink.ts';
import { createKafkaSource } from '../../consumers/kafka/source.ts';
import type { Ownership, Source } from '../../consumers/ports.ts';
import { type KafkaCluster, startKafkaCluster } from '../../infra/services/kafka-cluster.ts';
import { systemClock } from '../../runtime/clock.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { event } from '../contract/sink.ts';
import { firstOwnership, readSome, texts } from '../contract/source.ts';
import { until } from '../support/memory-stream.ts';
import { ownedPartition } from '../support/owned-partition.ts';
import { sourceConfig } from './cluster.ts';

/** Of a partition that has no records. */
function emptyFeed(partition: number): Feed {
  return { partition, wanted: () => 0, fetched() {}, nothingFetched() {}, outOfRange() {}, failed() {} };
}

/** Three nodes, and topics that have one replica of each partition: partition 0 on the first node, partition 2 on the third, which is gone. */
describe('a topic with a partition that nobody leads', () => {
  let cluster: KafkaCluster;
  let admin: Admin;
  let source: Source;
  const stop = new AbortController();
  const held: Ownership[] = [];
  let fetcher: Fetcher;
  const asked = new Set<number>();
  let leading: ReadonlySet<number> = new Set();
  const sources: Source[] = [];

  function open(group: string): Source {
    const config = sourceConfig([...cluster.brokers], 'in', { group, topic_refresh_ms: 100 });
    const opened = createKafkaSource(config, { maxEvents: 100, format: { type: 'json' }, clock: systemClock });
    sources.push(opened);
    return opened;
  }

  beforeAll(async () => {
    cluster = await startKafkaCluster({ nodes: 3, front: async (port) => port });
    admin = plainKafka({ brokers: [...cluster.brokers], retry: { initialRetryTime: 50, retries: 20 } }).admin();
    await admin.connect();
    const replicaAssignment = [1, 2, 3].map((node, partition) => ({ partition, replicas: [node] }));
    const configEntries = [{ name: 'min.insync.replicas', value: '1' }];
    const topics = ['in', 'out'].map((topic) => ({ topic, replicaAssignment, configEntries }));
    await admin.createTopics({ topics: [...topics, { topic: 'dead' }], waitForLeaders: true });
    await send('before');
    source = open('before');
    void (async () => {
      for await (const ownership of source.ownerships(stop.signal)) held.push(ownership);
    })();
    await until(() => held.length === 3);
    expect(texts((await readSome(first(), 0)).values)).toEqual(['before']);
    const config = sourceConfig([...cluster.brokers], 'in');
    fetcher = createFetcher(createClient(config), config, systemClock, {
      asking: (node) => asked.add(node),
      answered() {},
      leading: (nodes) => {
        leading = nodes;
      },
      failed() {},
    });
    fetcher.add(emptyFeed(2));
    fetcher.wake();
    await until(() => asked.has(3));
    await cluster.nodes[2].kill();
    for (let leaders = [0]; !leaders.includes(-1); ) {
      const answer = await admin.fetchTopicMetadata({ topics: ['in'] }).catch(() => undefined);
      leaders = answer?.topics[0].partitions.map(({ leader }) => leader) ?? [];
    }
  });
  afterEach(async () => {
    for (const opened of sources.splice(1)) await opened.close();
  });
  afterAll(async () => {
    stop.abort();
    for (const opened of sources) await opened.close();
    await admin.disconnect();
    await cluster.stop();
  });

  const first = () => held.find(({ partition }) => partition === 0)!;

  async function send(value: string): Promise<void> {
    const producer = plainKafka({ brokers: [...cluster.brokers] }).producer();
    await producer.connect();
    await producer.send({ topic: 'in', messages: [{ value, partition: 0 }] });
    await producer.disconnect();
  }

  it('is read from the partitions that are led, by the same owner', async () => {
    await send('after');
    expect(texts((await readSome(first(), 1)).values)).toEqual(['after']);
    // The partitions are counted again meanwhile.
    await first().confirmed!();
    await first().confirmed!();
    expect(held.map(({ revoked }) => revoked.aborted)).toEqual([false, false, false]);
    expect(await first().range()).toEqual({ earliest: 0, end: 2 });
  });

  it('says what is wrong with the one that is not led', async () => {
    const third = held.find(({ partition }) => partition === 2)!;
    await expect(third.range()).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/no broker leads in:2/),
    });
  });

  it('keeps nobody waiting for the answer of the broker that led it', async () => {
    await until(() => leading.has(-1));
    expect(leading).toEqual(new Set([-1]));
    await fetcher.close();
  });

  it('is joined by another process', async () => {
    const ownership = await firstOwnership(open('another'), stop.signal);
    expect(ownership.partitions).toBe(3);
    expect(texts((await readSome(ownership, 0)).values)[0]).toBe('before');
  });

  it.each(['exactly-once', 'at-least-once'] as const)('is published to where it is led, %s', async (delivery) => {
    const config = kafkaSinkConfig.parse({ topic: 'out', dead_letters: 'dead', connect_timeout_ms: 60_000 });
    const connection = sinkConnection(config, sourceConfig([...cluster.brokers], 'in'))!;
    const sink = createKafkaSink(config, {
      connection,
      job: 'test-job',
      group: `sink-${delivery}`,
      delivery,
      sourceIsKafka: true,
      clock: systemClock,
    });
    const output = await sink.open(ownedPartition('in', 0, 3));
    await output.publish({ events: [event(0)], deadLetters: [] }, 1);
    expect(await output.position()).toBe(1);
    await sink.close();
  });
});
