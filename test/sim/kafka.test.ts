import { describe, expect, it } from '@jest/globals';
import type { Kafka, Transaction } from 'kafkajs';
import { jobConfig } from '../../consumers/config.ts';
import { sinkConnection } from '../../consumers/kafka/config.ts';
import { createFetcher } from '../../consumers/kafka/fetcher.ts';
import { joinGroup, newIdentity } from '../../consumers/kafka/group-member.ts';
import { sinkOver } from '../../consumers/kafka/sink.ts';
import { sourceOver } from '../../consumers/kafka/source.ts';
import type { Ownership, Sink, Source } from '../../consumers/ports.ts';
import { epoch } from '../../sim/job.ts';
import {
  type BrokerOptions,
  createBroker,
  isVisible,
  type SentRecord,
  type SimulatedBroker,
} from '../../sim/kafka/broker.ts';
import { simulatedClient } from '../../sim/kafka/client.ts';
import { append } from '../../sim/kafka/log.ts';
import { createProcess, type SimulatedProcess } from '../../sim/process.ts';
import { createChance } from '../../sim/random.ts';
import { describeSinkContract } from '../contract/sink.ts';
import { describeSourceContract, type SourceRecord } from '../contract/source.ts';
import { until } from '../support/memory-stream.ts';
import { ownedPartition } from '../support/owned-partition.ts';
import { type RunningTime, startTime } from '../support/simulated.ts';

const config = jobConfig.parse({
  job: 'sim',
  source: { kafka: { brokers: ['kafka:9092'], topic: 'input', group: 'sim', session_timeout_ms: 3_000 } },
  event: {
    id: '$.id',
    time: { path: '$.ts', unit: 'ms' },
    kind: { const: 'authorization' },
    fields: {},
    entities: { card: { key: '$.card' } },
  },
  features: [{ event: ['is-night'] }],
  state: { redis: {} },
  model: { rules_only: true },
  policy: [],
  sink: { kafka: { topic: 'scored', dead_letters: 'dead' } },
});

function brokerOf({ time }: RunningTime, more: Partial<BrokerOptions> = {}): SimulatedBroker {
  return createBroker({
    time,
    chance: createChance(1, 'broker'),
    partitions: 1,
    outputs: ['scored', 'dead'],
    outputPartitions: 1,
    protocol: 'weir-sticky',
    sessionMs: 3_000,
    rebalanceMs: 60_000,
    onDecided: () => {},
    onShared: () => {},
    ...more,
  });
}

let processes = 0;

/** A process of its own, as each of a contract's sources and sinks stands for one. */
function clientOf(running: RunningTime, broker: SimulatedBroker) {
  const process: SimulatedProcess = createProcess(`p${processes++}`, running.time, epoch);
  const parts = { ...running, broker, chance: createChance(1, 'client'), fetchRecords: 500 };
  return { process, client: simulatedClient(parts, process, 'input') };
}

function openSource(running: RunningTime, broker: SimulatedBroker, maxEvents: number): Source {
  return sourceOf(clientOf(running, broker), maxEvents);
}

function sourceOf({ process, client }: ReturnType<typeof clientOf>, maxEvents: number): Source {
  const kafka = config.source.kafka!;
  const identity = newIdentity(process.name);
  return sourceOver(
    {
      client,
      join: (events) => joinGroup(client, kafka, identity, process.clock, events),
      fetch: (events) => createFetcher(client, kafka, process.clock, events),
    },
    kafka,
    { maxEvents, format: { type: 'json' }, clock: process.clock },
  );
}

function openSink(running: RunningTime, broker: SimulatedBroker, delivery: 'exactly-once' | 'at-least-once'): Sink {
  const { process, client } = clientOf(running, broker);
  return sinkOf(process, client, delivery);
}

function sinkOf(process: SimulatedProcess, client: Kafka, delivery: 'exactly-once' | 'at-least-once'): Sink {
  return sinkOver(client, config.sink.kafka!, {
    connection: sinkConnection(config.sink.kafka!, config.source.kafka)!,
    job: 'sim',
    group: 'sim',
    delivery,
    sourceIsKafka: true,
    clock: process.clock,
  });
}

describeSourceContract('the Kafka source on simulated brokers', {
  hasKeys: true,
  keepsCheckpoint: true,
  async create(records) {
    const running = startTime();
    const broker = brokerOf(running);
    const add = async (more: readonly SourceRecord[]) => {
      for (const { key, value } of more) {
        append(broker.input.partitions[0], {
          key: key === null ? Buffer.alloc(0) : Buffer.from(key),
          value: Buffer.from(value),
          timestamp: epoch + Math.floor(running.time.now()),
        });
      }
    };
    await add(records);
    return {
      open: ({ maxEvents }) => openSource(running, broker, maxEvents),
      append: add,
      remove: async () => running.stop(),
    };
  },
});

describe.each(['exactly-once', 'at-least-once'] as const)('%s', (delivery) => {
  describeSinkContract('the Kafka sink on simulated brokers', {
    hasKeys: true,
    isExactlyOnce: delivery === 'exactly-once',
    async create() {
      const running = startTime();
      const broker = brokerOf(running);
      const seen = (topic: string): SentRecord[] =>
        broker.outputs
          .get(topic)!
          .partitions[0].entries.filter((entry) => entry !== undefined)
          .filter(isVisible);
      return {
        open: () => openSink(running, broker, delivery),
        ownership: ownedPartition('input'),
        events: async () =>
          seen('scored').map(({ key, value, headers }) => ({
            key: key?.toString('utf8') ?? null,
            id: headers.get('ce_id')!,
            time: headers.get('ce_time')!,
            data: String(value),
          })),
        deadLetters: async () =>
          seen('dead').map(({ value, headers }) => ({
            value: value?.toString('hex') ?? null,
            reason: headers.get('weir-reason')!,
            message: headers.get('weir-message')!,
            stream: headers.get('weir-stream')!,
            partition: Number(headers.get('weir-partition')),
            offset: Number(headers.get('weir-offset')),
          })),
        remove: async () => running.stop(),
      };
    },
  });
});

describe('simulated brokers', () => {
  it('abort what a former producer has open when its id is taken over, and refuse what it sends then', async () => {
    const running = startTime();
    const { coordinator } = brokerOf(running);
    const former = coordinator.init('id', 60_000);
    coordinator.add(former, 0, 7);
    expect(coordinator.isUnstable(0)).toBe(true);
    expect(() => coordinator.init('id', 60_000)).toThrow('CONCURRENT_TRANSACTIONS');
    while (coordinator.isUnstable(0)) await new Promise((resolve) => setImmediate(resolve));
    const owner = coordinator.init('id', 60_000);
    expect(() => coordinator.end(former, true)).toThrow('INVALID_PRODUCER_EPOCH');
    coordinator.add(owner, 0, 3);
    coordinator.end(owner, true);
    expect(coordinator.decided(0)).toBe(3);
    running.stop();
  });
});

describe('the Kafka source, where fetching fails whatever it does', () => {
  it('waits longer each time, although it can join the group', async () => {
    const running = startTime();
    const { process, client } = clientOf(running, brokerOf(running));
    const kafka = config.source.kafka!;
    const identity = newIdentity(process.name);
    const waits: number[] = [];
    const warn = (details: object) => void waits.push((details as { retry_in_ms: number }).retry_in_ms);
    const source = sourceOver(
      {
        client,
        join: (events) => joinGroup(client, kafka, identity, process.clock, events),
        fetch: ({ failed }) => ({
          add: () => failed(new Error('unheard of')),
          remove() {},
          wake() {},
          close: async () => {},
        }),
      },
      kafka,
      { maxEvents: 1, format: { type: 'json' }, clock: process.clock, log: { warn, debug() {} } },
    );
    for await (const _ of source.ownerships(new AbortController().signal)) if (waits.length >= 4) break;
    expect(waits.slice(0, 4)).toEqual([200, 400, 800, 1_600]);
    await source.close();
    running.stop();
  });
});

describe('the Kafka source, whose brokers were away for longer than its session', () => {
  it('comes back as the member that its group waits for, to the partitions that it had', async () => {
    /** For as long as this says; asked at each request. */
    let isAway = () => false;
    const running = startTime(() => (isAway() ? { kind: 'request-lost' } : undefined));
    const members: string[][] = [];
    // Brokers that come back give each member a whole session.
    const broker = brokerOf(running, {
      partitions: 2,
      sessionMs: 60_000,
      onShared: (_, shares) => void members.push(shares.map(({ memberId }) => memberId).sort()),
    });
    const signal = new AbortController().signal;
    const open = (of: ReturnType<typeof clientOf>) => {
      const source = sourceOf(of, 1);
      const gained: Ownership[] = [];
      void (async () => {
        for await (const ownership of source.ownerships(signal)) gained.push(ownership);
      })();
      const owned = () => gained.filter(({ revoked }) => !revoked.aborted).map(({ partition }) => partition);
      return { source, owned };
    };
    const [a, b] = [clientOf(running, broker), clientOf(running, broker)];
    const first = open(a);
    await until(() => first.owned().length === 2);
    const second = open(b);
    await until(() => first.owned().length === 1 && second.owned().length === 1);
    const had = first.owned();
    // By the order in which they came, each would get what the other has.
    await first.source.close();
    const back = open(a);
    await until(() => back.owned().length === 1 && second.owned().length === 1);
    expect(back.owned()).toEqual(had);
    const before = members.at(-1);
    let isOver = false;
    isAway = () => {
      isOver ||= back.owned().length === 0 && second.owned().length === 0;
      return !isOver;
    };
    await until(() => isOver);
    await until(() => back.owned().length === 1 && second.owned().length === 1);
    expect(back.owned()).toEqual(had);
    expect(members.at(-1)).toEqual(before);
    await Promise.all([back, second].map(({ source }) => source.close()));
    running.stop();
  });
});

describe('a membership that was left without waiting for its answers', () => {
  it('says nothing any more: its process may be a member again', async () => {
    let isSlow = false;
    const running = startTime((_, port) =>
      isSlow && port === 'heartbeat' ? { kind: 'slow', byMs: 30_000 } : undefined,
    );
    const { process, client } = clientOf(running, brokerOf(running));
    const identity = newIdentity(process.name);
    const said: string[] = [];
    const { clock } = process;
    await new Promise<void>((resolve) => {
      const member = joinGroup(client, config.source.kafka!, identity, clock, {
        assigned() {
          isSlow = true;
          said.push('assigned');
          // Its heartbeat is under way by then, and answered when the group knows it no more.
          clock.after(2_000, () => void member.leave().then(resolve));
        },
        confirmed: () => void said.push('confirmed'),
        expelled: () => void said.push('expelled'),
      });
    });
    identity.memberId = 'of the next membership';
    await clock.sleep(60_000);
    expect(said).toEqual(['assigned']);
    expect(identity.memberId).toBe('of the next membership');
    running.stop();
  });
});

describe('a position whose transaction stays unsettled', () => {
  /** What a transaction's log says of it: no marker yet, or which. */
  type Ending = 'committing' | 'committed' | 'aborted';

  const event = { key: null, id: 'input:0:1', time: '2026-01-01T00:00:00.000Z', data: Buffer.from('{}') };
  const batch = { events: [event], deadLetters: [] };
  const at = { stream: 'input', partition: 0, offset: 1, timestamp: 0 };
  const letter = { ...at, key: null, value: null, reason: 'not-json', message: 'no JSON' } as const;

  /** The client, with something done to its transactions. */
  function altered(client: Kafka, alter: (begun: Transaction, id: string) => Transaction): Kafka {
    const producer: Kafka['producer'] = (options) => {
      const made = client.producer(options);
      return { ...made, transaction: async () => alter(await made.transaction(), options!.transactionalId!) };
    };
    return { ...client, producer } as Kafka;
  }

  /** The client, but the answer to the commit of this number is lost. @param committers ids of the transactions, in order. */
  const withoutAnswer = (client: Kafka, number: number, committers: string[] = []) =>
    altered(client, (begun, id) => ({
      ...begun,
      async commit() {
        await begun.commit();
        committers.push(id);
        if (committers.length === number)
          throw Object.assign(new Error('closed'), { name: 'KafkaJSConnectionClosedError' });
      },
    }));

  it('is ended by the next commit', async () => {
    const running = startTime();
    const committers: string[] = [];
    const { process, client } = clientOf(running, brokerOf(running));
    const sink = sinkOf(process, withoutAnswer(client, Number.NaN, committers), 'exactly-once');
    const nothing = { events: [], deadLetters: [] };
    for (const commits of [2, 1, 3]) {
      const output = await sink.open(ownedPartition('input'));
      for (let commit = 0; commit < commits; commit++) await output.publish(nothing, 100);
      await output.close();
    }
    expect(committers.map((id) => id.at(-1))).toEqual(['a', 'b', 'b', 'b', 'a', 'b']);
    await sink.close();
    running.stop();
  });

  /** A process whose positions stay unsettled behind 50, and what each of its transactions came to in the output's log. */
  function hanging(alter: (client: Kafka) => Kafka = (client) => client) {
    const running = startTime();
    const broker = brokerOf(running);
    const { process, client } = clientOf(running, broker);
    const committers: string[] = [];
    const sink = sinkOf(process, alter(withoutAnswer(client, Number.NaN, committers)), 'exactly-once');
    const log = (topic: string) => broker.outputs.get(topic)!.partitions[0];
    const end = (topic: string, at: number, state: Ending) => {
      const { entries } = log(topic);
      const record = entries.at(at)!;
      entries[(at + entries.length) % entries.length] = {
        ...record,
        transaction: { ...record.transaction!, state },
      };
    };
    return {
      sink,
      open: () => sink.open(ownedPartition('input')),
      /** The transactional ids whose commits were sent, by their last letter. */
      committers: () => committers.map((id) => id.at(-1)).join(''),
      /** The brokers have lost the markers of the last transactions, but for those that the logs are told to have: of the last events, and of the last letter. */
      hang(events: readonly Ending[], letter?: Ending) {
        for (const [index, state] of events.entries()) end('scored', index - events.length, state);
        if (letter !== undefined) end('dead', -1, letter);
        Object.assign(broker.coordinator, { isUnstable: () => true, committed: () => 50 });
      },
      truncate() {
        log('scored').earliest = log('scored').entries.length;
      },
      async end() {
        await sink.close();
        running.stop();
      },
    };
  }

  const unsettled = { code: 'BROKER', message: expect.stringMatching(/neither committed nor aborted/) };

  it.each(['committing', 'committed'] as const)('is the last whose commit was sent, where it is %s', async (state) => {
    const world = hanging();
    const output = await world.open();
    await output.publish(batch, 100);
    await output.publish(batch, 101);
    world.hang(['committing', state]);
    expect(await output.position()).toBe(101);
    await output.publish(batch, 102);
    expect(world.committers()).toBe('aba');
    await world.end();
  });

  it('is that also without an answer, and without a record', async () => {
    const world = hanging((client) => withoutAnswer(client, 2));
    const output = await world.open();
    await output.publish({ events: [], deadLetters: [] }, 100);
    world.hang([]);
    expect(await output.position()).toBe(100);
    await expect(output.publish({ events: [], deadLetters: [] }, 150)).rejects.toMatchObject({ code: 'BROKER' });
    await output.close();
    expect(await (await world.open()).position()).toBe(150);
    await world.end();
  });

  it('is that of the commit before, where the last has come to nothing, and the id of that commit is the next', async () => {
    const world = hanging();
    const output = await world.open();
    for (const position of [100, 101, 102]) await output.publish(batch, position);
    await output.close();
    world.hang(['committing', 'aborted']);
    const next = await world.open();
    expect(await next.position()).toBe(101);
    await next.publish(batch, 102);
    expect(world.committers()).toBe('abab');
    // Of what came to nothing nothing is said again.
    world.hang(['committing', 'committing']);
    expect(await next.position()).toBe(102);
    await world.end();
  });

  it.each([
    ['all of them have come to nothing', ['aborted', 'aborted']],
    ['one behind which another counts has come to nothing', ['aborted', 'committing']],
  ] as const)('is not told, where %s', async (_, states) => {
    const world = hanging();
    const output = await world.open();
    for (const position of [100, 101]) await output.publish(batch, position);
    world.hang(states);
    await expect(output.position()).rejects.toMatchObject(unsettled);
    await world.end();
  });

  it('is not told, where a part of its records has come to nothing', async () => {
    const world = hanging();
    const output = await world.open();
    await output.publish({ events: [event], deadLetters: [letter] }, 100);
    world.hang(['committing'], 'aborted');
    await expect(output.position()).rejects.toMatchObject(unsettled);
    await world.end();
  });

  it('is not told, where the log does not reach back to its records', async () => {
    const world = hanging();
    const output = await world.open();
    await output.publish(batch, 100);
    world.hang(['committing']);
    world.truncate();
    await expect(output.position()).rejects.toMatchObject(unsettled);
    await world.end();
  });

  it('is carried out already, where there is a later one', async () => {
    const world = hanging();
    const output = await world.open();
    await output.publish(batch, 40);
    world.hang(['committing']);
    await expect(output.position()).rejects.toMatchObject(unsettled);
    await world.end();
  });

  it('is sent behind the records by the first commit of each id, which may have to end another, and beside them by the next', async () => {
    const running = startTime();
    const { process, client } = clientOf(running, brokerOf(running));
    const calls: string[] = [];
    const told = altered(client, (begun) => ({
      ...begun,
      async sendBatch(batch) {
        const sent = await begun.sendBatch(batch);
        calls.push('records');
        return sent;
      },
      async sendOffsets(offsets) {
        calls.push('position');
        await begun.sendOffsets(offsets);
      },
    }));
    const sink = sinkOf(process, told, 'exactly-once');
    const output = await sink.open(ownedPartition('input'));
    for (const position of [100, 101, 102]) await output.publish(batch, position);
    expect(calls).toEqual(['records', 'position', 'records', 'position', 'position', 'records']);
    await sink.close();
    running.stop();
  });
});
