import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import kafkajs from 'kafkajs';
import { longestKey } from '../../consumers/config.ts';
import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder } from '../../consumers/decode/decoder.ts';
import { kafkaSinkConfig } from '../../consumers/kafka/config.ts';
import type { KafkaSinkOptions } from '../../consumers/kafka/sink.ts';
import { createKafkaSource } from '../../consumers/kafka/source.ts';
import { unstableOffset } from '../../consumers/kafka/stable-offsets.ts';
import type { Sink } from '../../consumers/ports.ts';
import { systemClock } from '../../runtime/clock.ts';
import { deadLetter, describeSinkContract, event } from '../contract/sink.ts';
import { firstOwnership } from '../contract/source.ts';
import { ownedPartition } from '../support/owned-partition.ts';
import { type Cluster, sinkFor, sourceConfig, startCluster } from './cluster.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await cluster.stop();
});

interface Topics {
  readonly input: string;
  readonly topic: string;
  readonly dead_letters: string;
}

async function makeTopics(inputs = 1, outputs = 1): Promise<Topics> {
  const [input, topic, dead_letters] = [
    await cluster.topic(inputs),
    await cluster.topic(outputs),
    await cluster.topic(1),
  ];
  return { input, topic, dead_letters };
}

function makeSink(topics: Topics, more: Partial<KafkaSinkOptions> = {}, settings: object = {}): Sink {
  const source = sourceConfig(cluster.brokers, topics.input);
  return sinkFor(source, topics, more, { connect_timeout_ms: 60_000, ...settings });
}

async function fixture(more: Partial<KafkaSinkOptions>, settings: object = {}) {
  const topics = await makeTopics();
  return {
    open: () => makeSink(topics, more, settings),
    ownership: ownedPartition(topics.input),
    events: async () =>
      (await cluster.read(topics.topic)).map(({ key, value, headers }) => ({
        key,
        id: headers.ce_id,
        time: headers.ce_time,
        data: String(value),
      })),
    deadLetters: () => readDeadLetters(topics.dead_letters),
    remove: async () => {},
  };
}

async function readDeadLetters(topic: string) {
  const records = await cluster.read(topic);
  return records.map(({ value, headers }) => ({
    value: value?.toString('hex') ?? null,
    reason: headers['weir-reason'],
    message: headers['weir-message'],
    stream: headers['weir-stream'],
    partition: Number(headers['weir-partition']),
    offset: Number(headers['weir-offset']),
  }));
}

describeSinkContract('the Kafka sink, exactly-once', {
  hasKeys: true,
  isExactlyOnce: true,
  create: () => fixture({}),
});

describeSinkContract('the Kafka sink, exactly-once from a file', {
  hasKeys: true,
  isExactlyOnce: true,
  create: () => fixture({ sourceIsKafka: false }),
});

describeSinkContract('the Kafka sink, at-least-once', {
  hasKeys: true,
  isExactlyOnce: false,
  create: () => fixture({ delivery: 'at-least-once' }),
});

describe('the Kafka sink', () => {
  const closing: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const part of closing.splice(0).reverse()) await part.close();
  });

  function open(topics: Topics, more: Partial<KafkaSinkOptions> = {}, settings: object = {}): Sink {
    const sink = makeSink(topics, more, settings);
    closing.push(sink);
    return sink;
  }

  const ids = async (topic: string) => (await cluster.read(topic)).map(({ headers }) => headers.ce_id);

  it('writes CloudEvents in binary mode', async () => {
    const topics = await makeTopics();
    const output = await open(topics).open(ownedPartition(topics.input));
    await output.publish({ events: [event(1)], deadLetters: [deadLetter(2, Buffer.from('x'))] }, 3);
    expect(await cluster.read(topics.topic)).toEqual([
      {
        partition: 0,
        offset: 0,
        key: 'key-1',
        value: event(1).data,
        headers: {
          ce_specversion: '1.0',
          ce_id: 'input:0:1',
          ce_source: '/weir/test-job',
          ce_type: 'weir.risk.scored.v1',
          ce_time: event(1).time,
          'content-type': 'application/json',
        },
      },
    ]);
    expect(await cluster.read(topics.dead_letters)).toMatchObject([{ key: 'k', value: Buffer.from('x') }]);
  });

  it("commits the position as the group's offset, where any Kafka tool sees it", async () => {
    const topics = await makeTopics(3);
    const output = await open(topics).open(ownedPartition(topics.input, 2, 3));
    await output.publish({ events: [event(1)], deadLetters: [] }, 41);
    const group = { groupId: `group-${topics.input}`, topics: [topics.input] };
    const offsets = async () => (await cluster.admin.fetchOffsets(group))[0].partitions.map(({ offset }) => offset);
    // The commit is acknowledged before it is carried out.
    let seen = await offsets();
    while (seen.includes(unstableOffset)) seen = await offsets();
    expect(seen).toEqual(['-1', '-1', '41']);
  });

  it.each(['exactly-once', 'at-least-once'] as const)(
    '%s: keeps with positions that the topic has grown, for processes that come after that',
    async (delivery) => {
      const topics = await makeTopics();
      const config = sourceConfig(cluster.brokers, topics.input);
      const grownAt = async () => {
        const source = createKafkaSource(config, { maxEvents: 1, format: { type: 'json' }, clock: systemClock });
        closing.push(source);
        const ownership = await firstOwnership(source, new AbortController().signal);
        const output = await open(topics, { delivery }).open(ownership);
        await output.publish({ events: [], deadLetters: [] }, 0);
        await output.position();
        await source.close();
        return ownership.grownAt!();
      };
      expect([await grownAt(), await grownAt()]).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
      await cluster.admin.createPartitions({ topicPartitions: [{ topic: topics.input, count: 2 }] });
      const at = await grownAt();
      expect(at).toBeGreaterThan(0);
      expect(await grownAt()).toBe(at);
    },
  );

  it("puts a source partition's output into one partition, whatever the keys", async () => {
    const topics = await makeTopics(5, 3);
    const sink = open(topics);
    const output = await sink.open(ownedPartition(topics.input, 4, 5));
    await output.publish({ events: [1, 2, 3, 4].map((n) => event(n)), deadLetters: [] }, 5);
    expect((await cluster.read(topics.topic)).map(({ partition }) => partition)).toEqual([1, 1, 1, 1]);
  });

  it('hashes keys as the Java client does where the source is no Kafka topic', async () => {
    const topics = await makeTopics(1, 4);
    const output = await open(topics, { sourceIsKafka: false }).open(ownedPartition('input.jsonl'));
    const keys = ['21', 'foobar', 'a-little-bit-long-string', 'lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8'];
    await output.publish({ events: keys.map((key, n) => event(n, key)), deadLetters: [] }, 4);
    // toPositive(murmur2(key)) % 4, with the hashes from Kafka's own UtilsTest.
    const hashes = [-973932308, -790332482, -985981536, -58897971];
    const expected = Object.fromEntries(keys.map((key, n) => [key, (hashes[n] & 0x7fffffff) % 4]));
    const records = await cluster.read(topics.topic);
    expect(Object.fromEntries(records.map(({ key, partition }) => [key, partition]))).toEqual(expected);
  });

  it.each(['none', 'gzip', 'zstd'])('sends with compression %s', async (compression) => {
    const topics = await makeTopics();
    const output = await open(topics, {}, { compression }).open(ownedPartition(topics.input));
    await output.publish({ events: [event(1), event(2)], deadLetters: [] }, 3);
    const stop = new AbortController();
    const source = createKafkaSource(sourceConfig(cluster.brokers, topics.topic), {
      maxEvents: 9,
      format: { type: 'json' },
      clock: systemClock,
    });
    closing.push(source);
    const read = await (await firstOwnership(source, stop.signal)).read(0);
    expect(read.values.map(String)).toEqual([event(1), event(2)].map(({ data }) => String(data)));
  });

  it('fences a zombie in the middle of its transaction', async () => {
    const topics = await makeTopics();
    const ownership = ownedPartition(topics.input);
    const zombie = await open(topics).open(ownership);
    await zombie.publish({ events: [event(0)], deadLetters: [] }, 1);
    const events = Array.from({ length: 5000 }, (_, n) => event(n + 1));
    const late = zombie.publish({ events, deadLetters: [] }, 5001).then(
      () => 'published',
      (error) => error.code,
    );
    const owner = await open(topics).open(ownership);
    const outcome = await late;
    const position = await owner.position();
    // Whoever was first, records and position agree.
    expect([outcome, position]).toEqual(outcome === 'published' ? ['published', 5001] : ['FENCED', 1]);
    await owner.publish({ events: [event(9999)], deadLetters: [] }, position! + 1);
    expect(await ids(topics.topic)).toHaveLength(position! + 1);
  });

  it('opens on an unfinished transaction of a process that died', async () => {
    const topics = await makeTopics();
    const ownership = ownedPartition(topics.input);
    const output = await open(topics).open(ownership);
    await output.publish({ events: [event(0)], deadLetters: [] }, 1);
    const dead = await cluster.producer(`group-${topics.input}.${topics.input}.0.a`);
    const transaction = await dead.transaction();
    await transaction.send({ topic: topics.topic, messages: [{ value: 'lost', partition: 0 }] });
    const owner = await open(topics).open(ownership);
    expect(await owner.position()).toBe(1);
    await owner.publish({ events: [event(1)], deadLetters: [] }, 2);
    expect(await ids(topics.topic)).toEqual([event(0).id, event(1).id]);
    await expect(transaction.commit()).rejects.toThrow();
  });

  it('answers with a position only when no transaction can change it any more', async () => {
    const topics = await makeTopics();
    const output = await open(topics).open(ownedPartition(topics.input));
    expect(await output.position()).toBeUndefined();
    await output.publish({ events: [event(0)], deadLetters: [] }, 1);
    const other = await (await cluster.producer(`other-${topics.input}`)).transaction();
    const partitions = [{ partition: 0, offset: '7' }];
    await other.sendOffsets({
      consumerGroupId: `group-${topics.input}`,
      topics: [{ topic: topics.input, partitions }],
    });
    const position = output.position();
    // Longer than it takes to look into what was acknowledged here.
    expect(await Promise.race([position, new Promise((resolve) => setTimeout(resolve, 3_500, 'waits'))])).toBe('waits');
    await other.commit();
    expect(await position).toBe(7);
  });

  it('opens nothing for a former owner', async () => {
    const topics = await makeTopics();
    const ownership = ownedPartition(topics.input);
    const owner = await open(topics).open(ownership);
    const former = { ...ownership, revoked: AbortSignal.abort() };
    await expect(open(topics).open(former)).rejects.toMatchObject({ code: 'FENCED' });
    await owner.publish({ events: [event(0)], deadLetters: [] }, 1);
    expect(await ids(topics.topic)).toEqual([event(0).id]);
  });

  it('says which topic is missing and how to create it', async () => {
    const topics = { ...(await makeTopics()), dead_letters: 'no-such-topic' };
    await expect(open(topics).open(ownedPartition(topics.input))).rejects.toMatchObject({
      code: 'OUTPUT',
      message: expect.stringMatching(/topic no-such-topic does not exist.*--create --topic no-such-topic/),
    });
  });

  it('says which setting is too large for a topic', async () => {
    const topics = await makeTopics();
    const configEntries = [{ name: 'max.message.bytes', value: '200' }];
    const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topics.topic, configEntries }];
    await cluster.admin.alterConfigs({ validateOnly: false, resources });
    const output = await open(topics).open(ownedPartition(topics.input));
    await expect(output.publish({ events: [event(0)], deadLetters: [] }, 1)).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(
        /does not take record batches of this length; set sink.kafka.max_message_bytes to .*max.message.bytes.*publishing to/,
      ),
    });
  });

  it('says that no broker answers, after the time it was given', async () => {
    const connection = { brokers: ['127.0.0.1:1'], client_id: 'weir', connect_timeout_ms: 200 };
    const unreachable = open({ input: 'a', topic: 'b', dead_letters: 'c' }, { connection });
    await expect(unreachable.open(ownedPartition('a'))).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/Kafka at 127.0.0.1:1 cannot be reached \(tried for 0.2 s\)/),
    });
  });

  it.each(['exactly-once', 'at-least-once'] as const)(
    'publishes on, %s, when the broker was killed in the middle',
    async (delivery) => {
      const topics = await makeTopics();
      const sink = open(topics, { delivery });
      const ownership = ownedPartition(topics.input);
      let output = await sink.open(ownership);
      let at = (await output.position()) ?? 0;
      let faults = 0;
      let restarted: Promise<void> | undefined;
      while (at < 400) {
        if (at === 200 && restarted === undefined) {
          await cluster.service.kill();
          restarted = cluster.service.restart();
        }
        try {
          await output.publish({ events: [event(at)], deadLetters: [] }, at + 1);
          at++;
        } catch (error) {
          expect(error).toMatchObject({ code: 'BROKER' });
          faults++;
          await output.close();
          output = await sink.open(ownership);
          at = (await output.position()) ?? 0;
        }
      }
      await restarted;
      const published = await ids(topics.topic);
      const expected = Array.from({ length: 400 }, (_, n) => event(n).id);
      if (delivery === 'exactly-once') {
        expect(published).toEqual(expected);
        expect(faults).toBeGreaterThan(0);
      } else {
        expect([...new Set(published)]).toEqual(expected);
      }
    },
  );
});

describe('a dead letter that no broker takes whole', () => {
  it.each(['none', 'zstd', 'gzip'])('is cut to what it takes, compression %s', async (compression) => {
    const topics = await makeTopics();
    const sink = makeSink(topics, {}, { compression });
    const output = await sink.open(ownedPartition(topics.input));
    const value = randomBytes(3_000_000);
    const fitting = Buffer.alloc(1_040_000, 7);
    const deadLetters = [
      deadLetter(1, value),
      { ...deadLetter(2, value.subarray(0, 1_048_588)), key: Buffer.alloc(1000, 'k') },
      { ...deadLetter(3, null), key: Buffer.alloc(1_200_000, 'k') },
      deadLetter(4, fitting),
    ];
    await output.publish({ events: [event(0)], deadLetters }, 5);
    expect(await output.position()).toBe(5);
    const [longest, long, keyOnly, whole] = await cluster.read(topics.dead_letters);
    for (const [cut, bytes] of [[longest, 3_000_000] as const, [long, 1_048_588] as const]) {
      expect(cut.headers['weir-truncated']).toBe(String(bytes));
      expect(cut.value!.length).toBeGreaterThan(1_040_000);
      expect(cut.value!.equals(value.subarray(0, cut.value!.length))).toBe(true);
    }
    expect(long.key).toBe('k'.repeat(1000));
    expect(keyOnly.key!.length).toBeGreaterThan(500_000);
    expect('k'.repeat(1_200_000).startsWith(keyOnly.key!)).toBe(true);
    expect([keyOnly.value, keyOnly.headers['weir-truncated']]).toEqual([null, '0']);
    expect(whole.value!.equals(fitting)).toBe(true);
    expect(whole.headers['weir-truncated']).toBeUndefined();
    await sink.close();
  });
});

describe('a record with a long key', () => {
  const key = Buffer.alloc(1_048_300, 'k');
  const events = eventConfig.parse({
    id: '$.id',
    time: { path: '$.ts', unit: 'ms' },
    kind: { const: 'authorization' },
    fields: {},
    entities: { card: { key: '$.card' } },
  });

  it('is a dead letter with the beginning of the key when a message cannot have both it and the risk event', async () => {
    const topics = await makeTopics();
    const kafka = kafkaSinkConfig.parse({ topic: topics.topic, dead_letters: topics.dead_letters });
    const decoder = createDecoder(events, { type: 'json' }, longestKey({ sink: { kafka } }));
    const longest = key.subarray(0, kafka.max_message_bytes / 2);
    const value = Buffer.from(JSON.stringify({ id: 'a', ts: 1e12, card: 'c' }));
    const raw = {
      values: [value, value],
      keys: [key, longest],
      offsets: [0, 1],
      timestamps: [1e12, 1e12],
      next: 2,
      end: 2,
    };
    const { keys, deadLetters } = decoder.decode(raw, { stream: topics.input, partition: 0 });
    expect(deadLetters.map(({ reason, offset }) => [reason, offset])).toEqual([['oversized', 0]]);
    const sink = makeSink(topics);
    const output = await sink.open(ownedPartition(topics.input));
    await output.publish({ events: [{ ...event(1), key: keys[0] }], deadLetters }, 2);
    expect((await cluster.read(topics.topic)).map((record) => record.key?.length)).toEqual([longest.length]);
    const [letter] = await cluster.read(topics.dead_letters);
    expect([letter.headers['weir-reason'], letter.value?.equals(value)]).toEqual(['oversized', true]);
    expect(letter.key!.length).toBeLessThan(key.length);
    await sink.close();
  });
});
