import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import kafkajs from 'kafkajs';
import { demandUncompacted } from '../../consumers/kafka/compaction.ts';
import { createKafkaSource } from '../../consumers/kafka/source.ts';
import type { Ownership, Source } from '../../consumers/ports.ts';
import { systemClock } from '../../runtime/clock.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { drain, firstOwnership, numbered, readSome, texts } from '../contract/source.ts';
import { until } from '../support/memory-stream.ts';
import { type Cluster, sourceConfig, startCluster } from './cluster.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await cluster.stop();
});

async function produce(topic: string, records: readonly { key: string | null; value: string }[], partition = 0) {
  const producer = await cluster.producer();
  await producer.send({ topic, messages: records.map((record) => ({ ...record, partition })) });
}

describe("the Kafka source, of a log's batches", () => {
  let stop = new AbortController();
  let source: Source;
  afterEach(async () => {
    stop.abort();
    stop = new AbortController();
    await source.close();
  });

  function open(topic: string): Source {
    const config = sourceConfig(cluster.brokers, topic);
    source = createKafkaSource(config, { maxEvents: 500, format: { type: 'json' }, clock: systemClock });
    return source;
  }

  it.each(['snappy', 'lz4', 'zstd', 'gzip'])('reads what a Java client has compressed by %s', async (codec) => {
    const topic = await cluster.topic();
    const folder = mkdtempSync(join(tmpdir(), 'weir-payload-'));
    const payload = numbered(500)
      .map(({ value }) => value)
      .join('');
    writeFileSync(join(folder, 'payload'), payload);
    const settings = [`bootstrap.servers=${cluster.brokers[0]}`, `compression.type=${codec}`, 'linger.ms=500'];
    const amount = ['--num-records', '200', '--throughput', '-1', '--payload-file', join(folder, 'payload')];
    const args = ['--topic', topic, ...amount, '--producer-props', ...settings, 'batch.size=900000'];
    await cluster.service.tool('org.apache.kafka.tools.ProducerPerformance', args);
    rmSync(folder, { recursive: true });
    const { values, next } = await drain(await firstOwnership(open(topic), stop.signal), 0);
    expect(next).toBe(200);
    expect(values).toEqual(Array(200).fill(payload));
  });

  /** Where the broker has the logs of the topic's partitions. */
  async function folderOf(topic: string): Promise<string> {
    const args = ['--bootstrap-server', cluster.brokers[0], '--describe', '--topic-list', topic];
    const told = await cluster.service.tool('org.apache.kafka.tools.LogDirsCommand', args);
    return /"logDir":"([^"]+)"/.exec(told)![1];
  }

  /** Damages a partition's log behind its first bytes, as a disk does. */
  async function damage(topic: string, partition: number, from: number): Promise<void> {
    const path = join(await folderOf(topic), `${topic}-${partition}`, '00000000000000000000.log');
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(20, 0x5a), 0, 20, from);
    closeSync(file);
  }

  it('stops at a batch that cannot be decoded, and reads other partitions on', async () => {
    const topic = await cluster.topic(2);
    await produce(topic, numbered(1), 1);
    const producer = await cluster.producer();
    const messages = numbered(3).map((record) => ({ ...record, partition: 1 }));
    await producer.send({ topic, messages, compression: kafkajs.CompressionTypes.GZIP });
    await produce(topic, [{ key: null, value: 'behind' }], 1);
    // The first batch has a head of 61 bytes and a record; the second one's records begin behind its own head.
    await damage(topic, 1, 61 + 20 + 61 + 20);
    const held: Ownership[] = [];
    void (async () => {
      for await (const ownership of open(topic).ownerships(stop.signal)) held.push(ownership);
    })();
    await until(() => held.length === 2);
    const [healthy, damaged] = [0, 1].map((partition) => held.find((of) => of.partition === partition)!);
    const { next } = await readSome(damaged, 0);
    expect(next).toBe(1);
    const message = new RegExp(
      `batch at offset 1 of ${topic}:1 cannot be decoded \\(compression: gzip\\).*kafka-delete-records.sh with offset 4`,
    );
    for (let time = 0; time < 2; time++) {
      await expect(readSome(damaged, next)).rejects.toMatchObject({
        code: 'INPUT',
        message: expect.stringMatching(message),
      });
      await produce(topic, numbered(10));
      expect((await drain(healthy, time * 10)).values).toHaveLength(10);
    }
    expect(held.map(({ revoked }) => revoked.aborted)).toEqual([false, false]);
    // The client deletes only from partitions that it has looked up.
    await cluster.admin.fetchTopicOffsets(topic);
    await cluster.admin.deleteTopicRecords({ topic, partitions: [{ partition: 1, offset: '4' }] });
    const behind = await readSome(damaged, next);
    expect([texts(behind.values), behind.lost]).toEqual([['behind'], { from: 1, to: 4 }]);
  });

  it('goes on behind what compaction has left without records', async () => {
    const topic = `compacted-${process.pid}`;
    const settings = { 'cleanup.policy': 'compact', 'segment.bytes': '1048576', 'min.cleanable.dirty.ratio': '0.001' };
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await cluster.admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }], waitForLeaders: true });
    const cleaner = [{ name: 'log.cleaner.backoff.ms', value: '100' }];
    const [{ nodeId }] = (await cluster.admin.describeCluster()).brokers;
    const resources = [{ type: kafkajs.ConfigResourceTypes.BROKER, name: String(nodeId), configEntries: cleaner }];
    await cluster.admin.alterConfigs({ validateOnly: false, resources });
    const client = plainKafka({ brokers: cluster.brokers });
    const send = async (key: string, value: string) => {
      // The log keeps what is left of a producer's last batch for the sake of its sequence.
      const producer = client.producer({ idempotent: true });
      await producer.connect();
      await producer.send({ topic, messages: [{ key, value, partition: 0 }] });
      await producer.disconnect();
    };
    const segment = join(await folderOf(topic), `${topic}-0`, '00000000000000000000.log');
    const large = 'x'.repeat(600_000);
    await send('first', large);
    // The last of its segment, of which nothing is left.
    await send('key', 'old');
    const { size } = statSync(segment);
    await send('second', large);
    await send('key', 'new');
    await send('third', large);
    await send('fourth', large);
    await until(() => (statSync(segment, { throwIfNoEntry: false })?.size ?? size) < size);
    // While it is compacted it is refused.
    const policy = [{ name: 'cleanup.policy', value: 'delete' }];
    const changed = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries: policy }];
    await cluster.admin.alterConfigs({ validateOnly: false, resources: changed });
    while (await isCompacted(topic)) await new Promise(setImmediate);
    const { keys, next } = await drain(await firstOwnership(open(topic), stop.signal), 0);
    expect([keys, next]).toEqual([['first', 'second', 'key', 'third', 'fourth'], 6]);
  });
});

/** As the broker has it: it learns of a change after the answer. */
async function isCompacted(topic: string): Promise<boolean> {
  return demandUncompacted(cluster.admin, topic).then(
    () => false,
    () => true,
  );
}
