import { afterEach, describe, expect, it } from '@jest/globals';
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
import type { ProducerIdentity } from '../../sim/kafka/transactions.ts';
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
    coordinator.add(former, 0, 7, null);
    expect(coordinator.isUnstable(0)).toBe(true);
    expect(() => coordinator.init('id', 60_000)).toThrow('CONCURRENT_TRANSACTIONS');
    while (coordinator.isUnstable(0)) await new Promise((resolve) => setImmediate(resolve));
    const owner = coordinator.init('id', 60_000);
    expect(() => coordinator.end(former, true)).toThrow('INVALID_PRODUCER_EPOCH');
    coordinator.add(owner, 0, 3, null);
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

describe('a transaction that hangs', () => {
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

  let end = async () => {};
  afterEach(() => end());

  /** A process whose transactions lose their markers; what it sends meets brokers that know them no more. */
  function hanging() {
    const running = startTime();
    const broker = brokerOf(running);
    const { process, client } = clientOf(running, broker);
    let hasAnswer = true;
    const unanswered = altered(client, (begun) => ({
      ...begun,
      async commit() {
        await begun.commit();
        if (!hasAnswer) throw Object.assign(new Error('closed'), { name: 'KafkaJSConnectionClosedError' });
      },
    }));
    const sink = sinkOf(process, unanswered, 'exactly-once');
    const log = (topic: string) => broker.outputs.get(topic)!.partitions[0];
    const endIn = (topic: string, at: number, state: Ending) => {
      const { entries } = log(topic);
      const record = entries.at(at)!;
      entries[(at + entries.length) % entries.length] = {
        ...record,
        transaction: { ...record.transaction!, state },
      };
    };
    const { coordinator } = broker;
    const { end: decide, committed, isUnstable } = coordinator;
    /** By its id, whether it was a commit, and the position that it was about. */
    const ended: string[] = [];
    let hung = 0;
    let carriedOut: number | undefined;
    Object.assign(coordinator, {
      committed: (partition: number) => carriedOut ?? committed(partition),
      isUnstable: (partition: number) => hung > 0 || isUnstable(partition),
      end(producer: ProducerIdentity, isCommit: boolean) {
        const position = coordinator.current(producer).offsets.get(0);
        ended.push(`${producer.id.at(-1)} ${isCommit ? 'commit' : 'abort'} ${position?.offset}`);
        hung = Math.max(0, hung - 1);
        if (isCommit && carriedOut !== undefined) carriedOut = position?.offset;
        decide(producer, isCommit);
      },
    });
    end = async () => {
      await sink.close();
      running.stop();
    };
    return {
      open: () => sink.open(ownedPartition('input')),
      ended,
      isAnswered(is: boolean) {
        hasAnswer = is;
      },
      /**
       * The markers of so many transactions are lost for the position, which stays at 50; and in the logs those of the last, for the last events and
       * the last letter, but where they are told.
       */
      hang(positions: number, events: readonly Ending[], letter?: Ending) {
        for (const [index, state] of events.entries()) endIn('scored', index - events.length, state);
        if (letter !== undefined) endIn('dead', -1, letter);
        hung = positions;
        carriedOut = hung > 0 ? 50 : undefined;
        ended.length = 0;
      },
      truncate() {
        log('scored').earliest = log('scored').entries.length;
      },
    };
  }

  const unsettled = { code: 'BROKER', message: expect.stringMatching(/neither committed nor aborted/) };

  it.each(['committing', 'committed'] as const)(
    'counts where its log says %s, answered or not, and is ended',
    async (state) => {
      for (const isAnswered of [true, false]) {
        const world = hanging();
        const output = await world.open();
        world.isAnswered(isAnswered);
        const publishing = output.publish(batch, 100);
        await (isAnswered ? publishing : expect(publishing).rejects.toMatchObject({ code: 'BROKER' }));
        world.isAnswered(true);
        await output.close();
        world.hang(1, [state]);
        const next = await world.open();
        expect(await next.position()).toBe(100);
        expect(world.ended).toEqual(['a commit 100']);
        await end();
      }
    },
  );

  it('is ended though the position is settled, so that its records are seen', async () => {
    const world = hanging();
    const output = await world.open();
    await output.publish({ events: [event], deadLetters: [letter] }, 100);
    await output.close();
    world.hang(0, ['committed'], 'committing');
    const next = await world.open();
    expect(world.ended).toEqual(['a commit 100']);
    expect(await next.position()).toBe(100);
    await next.close();
    // It is known to be settled then: nothing is ended once more.
    await (await world.open()).position();
    expect(world.ended).toHaveLength(1);
  });

  it('counts without any record', async () => {
    const world = hanging();
    const output = await world.open();
    await output.publish({ events: [], deadLetters: [] }, 100);
    world.hang(1, []);
    expect(await output.position()).toBe(100);
  });

  it.each([
    ['both hang', ['committing', 'committing'], ['a commit 100', 'b commit 101'], 101],
    ['the later came to nothing', ['committing', 'aborted'], ['a commit 100', 'b abort 101'], 100],
    ['what came before it came to nothing', ['aborted', 'committing'], ['a abort 100', 'b abort 101'], 50],
  ] as const)('is ended in the order of two, where %s', async (_, states, ended, position) => {
    const world = hanging();
    const output = await world.open();
    for (const at of [50, 50, 100, 101]) await output.publish(batch, at);
    await output.close();
    world.hang(2, states);
    const next = await world.open();
    expect(await next.position()).toBe(position);
    expect(world.ended).toEqual(ended);
    await next.publish(batch, 200);
    expect(await next.position()).toBe(200);
  });

  it('never takes the position back', async () => {
    const world = hanging();
    const output = await world.open();
    for (const at of [100, 101]) await output.publish(batch, at);
    await output.close();
    world.hang(0, ['committing', 'committed']);
    const next = await world.open();
    expect(world.ended).toEqual(['a commit 101']);
    expect(await next.position()).toBe(101);
  });

  it.each([
    ['what is behind one that came to nothing counts', ['aborted', 'committed'], undefined],
    ['its parts have ended differently', ['committing', 'committed'], 'aborted'],
  ] as const)('is left to a person, where %s', async (_, states, ofLetter) => {
    const world = hanging();
    const output = await world.open();
    await output.publish(batch, 100);
    await output.publish({ events: [event], deadLetters: [letter] }, 101);
    world.hang(2, states, ofLetter);
    await expect(output.position()).rejects.toMatchObject(unsettled);
    expect(world.ended).toEqual([]);
  });

  it('is left to a person, where the log does not reach back to its records', async () => {
    const world = hanging();
    const output = await world.open();
    await output.publish(batch, 100);
    world.hang(1, ['committing']);
    world.truncate();
    await expect(output.position()).rejects.toMatchObject(unsettled);
  });
});
