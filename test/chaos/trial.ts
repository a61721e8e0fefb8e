import type { Admin } from 'kafkajs';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { createFleet, type Fleet, tail } from './fleet.ts';
import type { Ground } from './ground.ts';
import { inputRecords } from './input.ts';
import { type Load, startLoad } from './load.ts';
import { until } from './until.ts';

export type Delivery = 'exactly-once' | 'at-least-once';

/** One job under load, over topics of its own on the ground that it shares with the trials before. */
export interface Trial {
  readonly ground: Ground;
  readonly topics: { readonly input: string; readonly scored: string; readonly dead: string };
  readonly fleet: Fleet;
  readonly load: Load;
  readonly admin: Admin;
  readonly random: Random;
  /** Input positions that the group has committed, by partition; 0 where it has none. */
  positions(): Promise<ReadonlyMap<number, number>>;
  /** Resolves when so many more records than now have been dealt with, of these partitions or of all. */
  progress(records: number, partitions?: readonly number[]): Promise<void>;
  /** Ends the load, and resolves when all of it has been dealt with and the processes have ended in order. */
  finish(): Promise<void>;
  /** Ends what still runs. */
  abandon(): Promise<void>;
}

export const partitions = 4;

export interface TrialOptions {
  readonly name: string;
  readonly seed: number;
  readonly delivery: Delivery;
  /** Processes at the beginning. */
  readonly members: number;
  readonly perSecond: number;
}

/** Starts the processes and the load. */
export async function startTrial(ground: Ground, options: TrialOptions): Promise<Trial> {
  const { name, seed, members, perSecond } = options;
  const topics = { input: name, scored: `${name}.scored`, dead: `${name}.dead` };
  const replicas = ground.cluster.nodes.length;
  for (const topic of Object.values(topics)) await ground.kafka.createTopic(topic, partitions, replicas);
  const { brokers } = ground.cluster;
  const admin = plainKafka({ brokers: [...brokers], retry: { retries: 20, maxRetryTime: 1000 } }).admin();
  await admin.connect();
  const random = seededRandom(seed);
  const fleet = createFleet(argumentsOf(ground, topics, options), {}, topics.input);
  await Promise.all(Array.from({ length: members }, () => fleet.start()));
  const records = inputRecords(seed, seededRandom(seed ^ 0x6c6f6164));
  const load = startLoad(brokers, topics.input, records, { perSecond, partitions });

  async function positions(): Promise<Map<number, number>> {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: name, topics: [topics.input] });
    return new Map(partitions.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]));
  }

  async function dealtWith(of?: readonly number[]): Promise<number> {
    let sum = 0;
    for (const [partition, position] of await positions()) if (of?.includes(partition) ?? true) sum += position;
    return sum;
  }

  async function isCaughtUp(): Promise<boolean> {
    const at = await positions();
    return (await admin.fetchTopicOffsets(topics.input)).every(
      ({ partition, high }) => at.get(partition) === Number(high),
    );
  }

  /** As until(), and with what the processes say when it fails. */
  async function watched<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
    return until(what, ask).catch((error: unknown) => {
      const said = fleet.members().map(({ weir }) => tail(weir));
      throw new Error(`${String(error)}; the processes say:\n${said.join('\n---\n')}`);
    });
  }

  return {
    ground,
    topics,
    fleet,
    load,
    admin,
    random,
    positions,
    async progress(records, of) {
      const target = (await dealtWith(of)) + records;
      await watched(`${name} deals with ${records} more records`, async () => (await dealtWith(of)) >= target);
    },
    async finish() {
      await load.stop();
      await watched(`${name} catches up`, isCaughtUp);
      await fleet.stop();
      await admin.disconnect();
    },
    async abandon() {
      await fleet.abandon();
      await load.abandon();
      await admin.disconnect();
    },
  };
}

function argumentsOf(
  { cluster, redisProxy }: Ground,
  { input, scored, dead }: Trial['topics'],
  { name, delivery }: TrialOptions,
): string[] {
  const settings = {
    job: name,
    'source.kafka.brokers': JSON.stringify(cluster.fronted),
    'source.kafka.topic': input,
    'source.kafka.group': name,
    'sink.kafka.topic': scored,
    'sink.kafka.dead_letters': dead,
    'state.redis.url': `redis://127.0.0.1:${redisProxy.port}`,
    delivery,
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', 'test/chaos/weir.yaml', ...overrides];
}
