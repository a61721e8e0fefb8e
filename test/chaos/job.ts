import type { Admin } from 'kafkajs';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { createFleet, type Fleet, tail } from './fleet.ts';
import type { Ground } from './ground.ts';
import { until } from './until.ts';

/** The job of weir.yaml over topics of its own, on a ground that it may share with others. */
export interface Job {
  readonly ground: Ground;
  readonly topics: { readonly input: string; readonly scored: string; readonly dead: string };
  /** Its processes; none at the beginning. */
  readonly fleet: Fleet;
  readonly admin: Admin;
  /** Input positions that the group has committed, by partition; 0 where it has none. */
  positions(): Promise<ReadonlyMap<number, number>>;
  /** How many records of these partitions, or of all, have been dealt with. */
  dealtWith(partitions?: readonly number[]): Promise<number>;
  /** Resolves when so many more records than now have been dealt with, of these partitions or of all. */
  progress(records: number, partitions?: readonly number[]): Promise<void>;
  /** Resolves when everything in the input has been dealt with. */
  caughtUp(): Promise<void>;
  /** Ends what still runs. */
  close(): Promise<void>;
}

export interface JobOptions {
  readonly name: string;
  readonly partitions: number;
  /** Keys of the config with their values; they win over those of weir.yaml and of the harness. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

export async function createJob(ground: Ground, { name, partitions, settings }: JobOptions): Promise<Job> {
  const topics = { input: name, scored: `${name}.scored`, dead: `${name}.dead` };
  const { brokers, nodes } = ground.cluster;
  for (const topic of Object.values(topics)) await ground.kafka.createTopic(topic, partitions, nodes.length);
  const admin = plainKafka({ brokers: [...brokers], retry: { retries: 20, maxRetryTime: 1000 } }).admin();
  await admin.connect();
  const fleet = createFleet(argumentsOf(ground, topics, settings), topics.input);

  async function positions(): Promise<Map<number, number>> {
    const [{ partitions }] = await patiently(() => admin.fetchOffsets({ groupId: name, topics: [topics.input] }));
    return new Map(partitions.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]));
  }

  async function dealtWith(of?: readonly number[]): Promise<number> {
    let sum = 0;
    for (const [partition, position] of await positions()) if (of?.includes(partition) ?? true) sum += position;
    return sum;
  }

  async function isCaughtUp(): Promise<boolean> {
    const at = await positions();
    const ends = await patiently(() => admin.fetchTopicOffsets(topics.input));
    return ends.every(({ partition, high }) => at.get(partition) === Number(high));
  }

  /** Until the brokers, which may be away, answer. */
  async function patiently<T>(ask: () => Promise<T>): Promise<T> {
    return watched('the brokers answer', () => ask().catch(() => undefined));
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
    admin,
    positions,
    dealtWith,
    async progress(records, of) {
      const target = (await dealtWith(of)) + records;
      await watched(`${name} deals with ${records} more records`, async () => (await dealtWith(of)) >= target);
    },
    async caughtUp() {
      await watched(`${name} catches up`, isCaughtUp);
    },
    async close() {
      await fleet.abandon();
      await admin.disconnect();
    },
  };
}

function argumentsOf(
  { cluster, store }: Ground,
  { input, scored, dead }: Job['topics'],
  settings: JobOptions['settings'],
): string[] {
  const all = {
    job: input,
    'source.kafka.brokers': JSON.stringify(cluster.fronted),
    'source.kafka.topic': input,
    'source.kafka.group': input,
    'sink.kafka.topic': scored,
    'sink.kafka.dead_letters': dead,
    ...store.settings,
    ...settings,
  };
  const overrides = Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', 'test/chaos/weir.yaml', ...overrides];
}
