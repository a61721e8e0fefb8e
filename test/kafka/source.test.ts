import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Transaction } from 'kafkajs';
import { clusterOf } from '../../consumers/kafka/cluster.ts';
import type { Coordinator } from '../../consumers/kafka/internals.ts';
import { createKafkaSource } from '../../consumers/kafka/source.ts';
import type { Ownership, RawBatch, Source } from '../../consumers/ports.ts';
import { systemClock } from '../../runtime/clock.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { describeSourceContract, drain, firstOwnership, numbered, readSome, texts } from '../contract/source.ts';
import { type Cluster, sourceConfig, startCluster } from './cluster.ts';

const format = { type: 'json' } as const;
let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await cluster.stop();
});

async function produce(topic: string, records: readonly { key: string | null; value: string }[], partition = 0) {
  const producer = await cluster.producer();
  const messages = records.map((record) => ({ ...record, partition }));
  for (let from = 0; from < messages.length; from += 1000) {
    await producer.send({ topic, messages: messages.slice(from, from + 1000) });
  }
}

describeSourceContract('the Kafka source', {
  hasKeys: true,
  keepsCheckpoint: true,
  async create(records) {
    const topic = await cluster.topic();
    await produce(topic, records);
    return {
      open: ({ maxEvents }) =>
        createKafkaSource(sourceConfig(cluster.brokers, topic), { maxEvents, format, clock: systemClock }),
      append: (more) => produce(topic, more),
      remove: async () => {},
    };
  },
});

describe('the Kafka source', () => {
  let stop = new AbortController();
  const sources: Source[] = [];
  afterEach(async () => {
    stop.abort();
    stop = new AbortController();
    for (const source of sources.splice(0)) await source.close();
  });

  function open(topic: string, more: object = {}, onTrouble?: (error: unknown) => void, maxEvents = 500): Source {
    const source = createKafkaSource(sourceConfig(cluster.brokers, topic, more), {
      maxEvents,
      format,
      clock: systemClock,
      onTrouble,
    });
    sources.push(source);
    return source;
  }

  const own = (source: Source) => firstOwnership(source, stop.signal);

  /** Keeps the ownerships that a source yields. */
  function collect(source: Source): Ownership[] {
    const held: Ownership[] = [];
    void (async () => {
      for await (const ownership of source.ownerships(stop.signal)) held.push(ownership);
    })();
    return held;
  }

  /** Takes all members out of the group, as the coordinator does with those that it has not heard of for too long. */
  async function expel(topic: string): Promise<void> {
    const group = sourceConfig(cluster.brokers, topic).group;
    const { groups } = await cluster.admin.describeGroups([group]);
    const connection = clusterOf(plainKafka({ brokers: [...cluster.brokers] }));
    await connection.connect();
    const coordinator = (await connection.findGroupCoordinator({ groupId: group })) as Coordinator;
    for (const { memberId } of groups[0].members) await coordinator.leaveGroup({ groupId: group, memberId });
    await connection.disconnect();
  }

  const live = (held: Ownership[]) =>
    held
      .filter(({ revoked }) => !revoked.aborted)
      .map(({ partition }) => partition)
      .sort();

  it('reaches the end of a log that ends in control records and aborted transactions', async () => {
    const topic = await cluster.topic();
    const producer = await cluster.producer(`tx-${topic}`);
    const send = async (value: string, end: 'commit' | 'abort') => {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [{ key: 'k', value, partition: 0 }] });
      await transaction[end]();
    };
    await send('seen', 'commit');
    for (let n = 0; n < 5; n++) await send(`hidden-${n}`, 'abort');
    const ownership = await own(open(topic));
    const drained = await drain(ownership, 0);
    expect(drained.values).toEqual(['seen']);
    expect(drained.next).toBe(12);
    expect((await ownership.range()).end).toBe(12);

    await send('seen again', 'commit');
    await send('hidden', 'abort');
    expect((await drain(ownership, drained.next)).values).toEqual(['seen again']);
    // Into the middle of the invisible stretch, and from behind a control record.
    expect((await drain(ownership, 5)).values).toEqual(['seen again']);
    expect((await drain(ownership, 1)).values).toEqual(['seen again']);
    expect((await drain(ownership, 0)).values).toEqual(['seen', 'seen again']);
  });

  it('shows nothing of an aborted transaction, whatever the keys of its records', async () => {
    const topic = await cluster.topic();
    const producer = await cluster.producer(`tx-${topic}`);
    // Customer 0 as a 32-bit integer; the client takes it for the marker of an abort.
    const zero = Buffer.alloc(4);
    const send = async (end: 'commit' | 'abort', ...values: string[]) => {
      const transaction = await producer.transaction();
      for (const value of values) await transaction.send({ topic, messages: [{ key: zero, value, partition: 0 }] });
      await transaction[end]();
    };
    await send('commit', 'one', 'two');
    await send('abort', 'hidden', 'hidden', 'hidden');
    await send('commit', 'three');
    const drained = await drain(await own(open(topic)), 0);
    expect(drained.values).toEqual(['one', 'two', 'three']);
    expect(drained.keys).toEqual(Array(3).fill(zero.toString()));
  });

  it('shows nothing of aborted transactions that overlap, wherever it begins to read', async () => {
    const topic = await cluster.topic();
    const producers = await Promise.all(['a', 'b', 'c'].map((name) => cluster.producer(`tx-${topic}-${name}`)));
    const [a, b, c] = await Promise.all(producers.map((producer) => producer.transaction()));
    const send = (transaction: Transaction, value: string) =>
      transaction.send({ topic, messages: [{ value, partition: 0 }] });
    await send(a, 'hidden');
    await send(b, 'hidden');
    await send(c, 'one');
    await send(a, 'hidden');
    await send(b, 'hidden');
    // The one that began last ends first: brokers tell them in this order.
    await b.abort();
    await send(a, 'hidden');
    await a.abort();
    await c.commit();
    await produce(topic, [{ key: null, value: 'two' }]);
    const ownership = await own(open(topic));
    const { values, offsets } = await drain(ownership, 0);
    expect(values).toEqual(['one', 'two']);
    for (const from of [1, 2]) expect((await drain(ownership, from)).values).toEqual(['one', 'two']);
    // Markers may be written behind what comes after the answer.
    for (const from of [3, 4, 5, 6, offsets[1]]) expect((await drain(ownership, from)).values).toEqual(['two']);
  });

  it('waits for a transaction that is open, and shows it once committed', async () => {
    const topic = await cluster.topic();
    const producer = await cluster.producer(`tx-${topic}`);
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: [{ value: 'open', partition: 0 }] });
    const ownership = await own(open(topic));
    const first = await ownership.read(0);
    expect(first.values).toEqual([]);
    expect((await ownership.range()).end).toBe(0);
    // So that its lag shows that it does not get on, and nobody takes it for one that has read all.
    let waiting = first;
    while (waiting.end === 0) waiting = await ownership.read(first.next);
    expect(waiting).toMatchObject({ values: [], next: 0, end: 1 });
    await transaction.commit();
    expect(texts((await readSome(ownership, first.next)).values)).toEqual(['open']);
  });

  it('knows the partitions that the topic got when the group had begun, of those that begin with it', async () => {
    const topic = await cluster.topic(2);
    const latest = { start: 'latest', topic_refresh_ms: 100 };
    const source = open(topic, latest);
    const held = collect(source);
    await until(() => held.length === 2);
    await cluster.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    await until(() => held.length === 3);
    const added = (ownerships: Ownership[]) =>
      ownerships.map(({ partition, isAdded }) => [partition, isAdded] as const).sort(([a], [b]) => a - b);
    expect(added(held)).toEqual([
      [0, false],
      [1, false],
      [2, true],
    ]);
    // The next process finds positions of two, and one more partition.
    for (const { partition, checkpoint } of held) if (partition < 2) await checkpoint(0);
    await source.close();
    const next = collect(open(topic, latest));
    await until(() => next.length === 3);
    expect(added(next)).toEqual(added(held));
  });

  it('reads far more than it may hold', async () => {
    const topic = await cluster.topic();
    const records = numbered(20_000);
    await produce(topic, records);
    const ownership = await own(
      open(topic, { prefetch_records: 700, prefetch_bytes: 20_000, max_bytes_per_partition: 9_000 }),
    );
    const drained = await drain(ownership, 0);
    expect(drained.values).toEqual(records.map(({ value }) => value));
    expect((await drain(ownership, 12_345)).values).toHaveLength(20_000 - 12_345);
  });

  it('shares the partitions of a topic, and takes over those of a member that leaves', async () => {
    const topic = await cluster.topic(4);
    const first = open(topic);
    const held = collect(first);
    await until(() => live(held).length === 4);
    const second = collect(open(topic));
    await until(() => live(held).length === 2 && live(second).length === 2);
    expect([...live(held), ...live(second)].sort()).toEqual([0, 1, 2, 3]);
    const lost = held.filter(({ revoked }) => revoked.aborted);
    await expect(lost[0].read(0)).rejects.toMatchObject({ code: 'FENCED' });
    await expect(lost[0].checkpoint(1)).rejects.toMatchObject({ code: 'FENCED' });
    await first.close();
    await until(() => live(second).length === 4);
  });

  it('keeps what stays through rebalances, with what is fetched of it, and gives what it had to a process that comes back', async () => {
    const topic = await cluster.topic(6);
    const names = ['one', 'two', 'three'];
    const sources = names.map((process_name) => open(topic, { process_name }));
    const held = sources.map(collect);
    await until(() => held.every((ownerships) => live(ownerships).length === 2));
    const before = held.map(live);
    await sources[2].close();
    await until(() => live(held[0]).length === 3 && live(held[1]).length === 3);
    const back = collect(open(topic, { process_name: 'three' }));
    await until(() => live(back).length === 2 && live(held[0]).length === 2 && live(held[1]).length === 2);
    expect([live(held[0]), live(held[1]), live(back)]).toEqual(before);
    for (const [n, ownerships] of held.slice(0, 2).entries()) {
      // Each was yielded once, and none of them was revoked on the way.
      const stayed = ownerships.filter(({ partition }) => before[n].includes(partition));
      expect(stayed.map(({ partition }) => partition).sort()).toEqual(before[n]);
    }
  });

  it('reads on without a gap or a repetition while the group rebalances again and again', async () => {
    const topic = await cluster.topic(2);
    const records = numbered(4_000);
    for (const partition of [0, 1]) await produce(topic, records, partition);
    const held = collect(open(topic, { prefetch_records: 100, max_bytes_per_partition: 2_000 }, undefined, 50));
    await until(() => live(held).length === 2);
    let at = 0;
    const offsets: number[] = [];
    const kept = held.find(({ partition }) => partition === 0)!;
    let rounds = 0;
    const rebalances = (async () => {
      for (; at < 4_000 || rounds < 3; rounds++) {
        const other = open(topic);
        const others = collect(other);
        await until(() => live(others).length === 1);
        await other.close();
        await until(() => live(held).length === 2);
      }
    })();
    while (at < 4_000 || rounds < 3) {
      const batch = await kept.read(at);
      offsets.push(...batch.offsets);
      at = batch.next;
    }
    await rebalances;
    expect(kept.revoked.aborted).toBe(false);
    expect(offsets).toEqual(records.map((_, n) => n));
  });

  it('stays a member however long a batch takes, also when the prefetch is full and nothing is fetched', async () => {
    const topic = await cluster.topic(2);
    for (const partition of [0, 1]) await produce(topic, numbered(500), partition);
    // Longer than the machine may stand still.
    const session = { session_timeout_ms: 10_000, prefetch_records: 50, max_bytes_per_partition: 1_024 };
    const held = collect(open(topic, session, undefined, 10));
    await until(() => live(held).length === 2);
    const batches = await Promise.all(held.map((ownership) => ownership.read(0)));
    const before = performance.now();
    await until(() => performance.now() - before > 1.2 * session.session_timeout_ms);
    expect(live(held)).toEqual([0, 1]);
    for (const [n, ownership] of held.entries()) {
      const { offsets } = await drain(ownership, batches[n].next);
      expect(offsets).toEqual(
        numbered(500)
          .map((_, offset) => offset)
          .slice(batches[n].next),
      );
    }
  });

  it('joins anew when the group knows it no more, and keeps nothing of what it had', async () => {
    const topic = await cluster.topic(2);
    const held = collect(open(topic));
    await until(() => live(held).length === 2);
    const before = [...held];
    const confirmed = before[0].confirmed!();
    await expel(topic);
    await until(() => held.length === 4);
    await confirmed;
    expect(before.every(({ revoked }) => revoked.aborted)).toBe(true);
    expect(live(held)).toEqual([0, 1]);
    await held[3].checkpoint(0);
    expect(await held[3].checkpointed()).toBe(0);
  });

  it('notices by itself that the topic has grown', async () => {
    const topic = await cluster.topic(1);
    const sources = [open(topic, { topic_refresh_ms: 200 }), open(topic, { topic_refresh_ms: 200 })];
    const held = sources.map(collect);
    await until(() => live(held.flat()).length === 1);
    const [first] = held.flat();
    await cluster.admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
    await until(() => held.every((ownerships) => live(ownerships).length === 2));
    expect(live(held.flat())).toEqual([0, 1, 2, 3]);
    expect(first.revoked.aborted).toBe(false);
    expect(first.partitions).toBe(4);
  });

  it('is in a group with members that know nothing of its way to share', async () => {
    const topic = await cluster.topic(4);
    const config = sourceConfig(cluster.brokers, topic);
    const former = plainKafka({ brokers: [...cluster.brokers] }).consumer({ groupId: config.group });
    await former.connect();
    await former.subscribe({ topic });
    let joined = 0;
    former.on(former.events.GROUP_JOIN, ({ payload }) => {
      joined = payload.memberAssignment[topic]?.length ?? 0;
    });
    await former.run({ eachMessage: async () => {} });
    const held = collect(open(topic));
    await until(() => live(held).length === 2 && joined === 2);
    const kept = held.filter(({ revoked }) => !revoked.aborted);
    await former.disconnect();
    await until(() => live(held).length === 4);
    expect(kept.every(({ revoked }) => !revoked.aborted)).toBe(true);
  });

  it('says which topic is missing and how to create it', async () => {
    const reading = own(open('no-such-topic'));
    await expect(reading).rejects.toMatchObject({
      code: 'INPUT',
      message: expect.stringMatching(
        /topic no-such-topic does not exist.*kafka-topics.sh .* --create --topic no-such-topic/,
      ),
    });
  });

  it('refuses a topic that is compacted', async () => {
    const topic = `compacted-${process.pid}`;
    const configEntries = [{ name: 'cleanup.policy', value: 'compact,delete' }];
    await cluster.admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }], waitForLeaders: true });
    const refusal = { code: 'CONFIG', message: expect.stringContaining('(cleanup.policy=compact,delete)') };
    await expect(own(open(topic))).rejects.toMatchObject(refusal);
  });

  it('says that no broker answers, after the time it was given', async () => {
    const nobody = createKafkaSource(sourceConfig(['127.0.0.1:1'], 'x', { connect_timeout_ms: 300 }), {
      maxEvents: 1,
      format,
      clock: systemClock,
    });
    sources.push(nobody);
    await expect(own(nobody)).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(
        /^Kafka at 127.0.0.1:1 cannot be reached \(tried for 0.3 s\): check brokers, tls and sasl, and that the broker runs; Connection error: connect ECONNREFUSED 127.0.0.1:1$/,
      ),
    });
  });

  it('refuses a position behind the end of the log', async () => {
    const topic = await cluster.topic();
    const ownership = await own(open(topic));
    await expect(ownership.read(7)).rejects.toMatchObject({
      code: 'INPUT',
      message: expect.stringMatching(/created anew/),
    });
  });

  it('begins at the earliest record where the log was cut', async () => {
    const topic = await cluster.topic();
    await produce(topic, numbered(10));
    await cluster.admin.fetchTopicOffsets(topic);
    await cluster.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] });
    const ownership = await own(open(topic));
    expect(await ownership.range()).toEqual({ earliest: 6, end: 10 });
    expect((await drain(ownership, 2)).offsets).toEqual([6, 7, 8, 9]);
  });

  it('goes on behind what was cut off while it reads, says so, and leaves the committed position alone', async () => {
    const topic = await cluster.topic();
    await produce(topic, numbered(2_000));
    const held = collect(open(topic, { prefetch_records: 100, max_bytes_per_partition: 1_024 }, undefined, 50));
    await until(() => held.length === 1);
    const first = await readSome(held[0], 0);
    await held[0].checkpoint(first.next);
    await cluster.admin.fetchTopicOffsets(topic);
    await cluster.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1500' }] });
    const offsets = [...first.offsets];
    const lost: RawBatch['lost'][] = [];
    let at = first.next;
    while (at < 2_000) {
      const ownership = held.at(-1)!;
      const batch = await ownership.read(at).catch((error) => {
        expect(error).toMatchObject({ code: 'FENCED' });
      });
      if (!batch) {
        await turn();
        continue;
      }
      offsets.push(...batch.offsets);
      if (batch.lost !== undefined) lost.push(batch.lost);
      at = batch.next;
    }
    const cut = offsets.findIndex((offset) => offset >= 1_500);
    expect(offsets.slice(0, cut)).toEqual(Array.from({ length: cut }, (_, n) => n));
    expect(offsets.slice(cut)).toEqual(Array.from({ length: 500 }, (_, n) => 1_500 + n));
    expect(lost).toEqual([{ from: cut, to: 1_500 }]);
    expect(await held.at(-1)!.checkpointed()).toBe(first.next);
  });

  it('counts the partitions again when the topic has grown', async () => {
    const topic = await cluster.topic(1);
    const first = collect(open(topic));
    await until(() => first.length === 1);
    expect(first[0].partitions).toBe(1);
    await cluster.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    const second = collect(open(topic));
    await until(() => live(first).length > 0 && live(first).length + live(second).length === 3);
    const owned = [...first, ...second].filter(({ revoked }) => !revoked.aborted);
    expect(owned.map(({ partitions }) => partitions)).toEqual([3, 3, 3]);
  });

  it('sleeps while nothing comes', async () => {
    const ownership = await own(open(await cluster.topic(), { max_wait_ms: 1_000 }));
    await ownership.read(0);
    const before = performance.nodeTiming.uvMetricsInfo.loopCount;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    // A timer of one millisecond, which the client has for each connection, would make it a thousand.
    expect(performance.nodeTiming.uvMetricsInfo.loopCount - before).toBeLessThan(200);
  });

  it('goes on when the broker was killed in the middle, and loses nothing', async () => {
    const topic = await cluster.topic();
    const records = numbered(3_000);
    await produce(topic, records);
    const troubles: unknown[] = [];
    const held = collect(
      open(
        topic,
        // So soon it is told that the broker says nothing.
        { session_timeout_ms: 6_000, prefetch_records: 200, max_bytes_per_partition: 2_000 },
        (error) => troubles.push(error),
        50,
      ),
    );
    await until(() => held.length === 1);
    const values: (string | null)[] = [];
    let at = 0;
    const readOn = async (until: () => boolean) => {
      while (!until()) {
        const ownership = held.find(({ revoked }) => !revoked.aborted);
        if (ownership === undefined) {
          await turn();
          continue;
        }
        try {
          const batch = await ownership.read(at);
          values.push(...texts(batch.values));
          at = batch.next;
        } catch (error) {
          expect(['FENCED', 'BROKER']).toContain((error as { code: string }).code);
        }
      }
    };
    await readOn(() => at >= 1_000);
    await cluster.service.kill();
    await readOn(() => troubles.length > 0);
    expect(troubles[0]).toBeUndefined();
    await until(() => troubles.some((trouble) => trouble !== undefined));
    await cluster.service.restart();
    await readOn(() => at >= 3_000);
    expect(values).toEqual(records.map(({ value }) => value));
    await until(() => troubles.at(-1) === undefined);
  });
});

const turn = () => new Promise((resolve) => setTimeout(resolve, 10));

/** Waits for the condition; jest's own timeout ends a wait for what never comes. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}
