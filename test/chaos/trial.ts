import { type Random, seededRandom } from '../../runtime/random.ts';
import type { Ground } from './ground.ts';
import { inputRecords } from './input.ts';
import { createJob, type Job, type JobOptions } from './job.ts';
import { type Load, startLoad } from './load.ts';
import { until } from './until.ts';

/** How a job runs. */
export interface Mode {
  readonly delivery: 'exactly-once' | 'at-least-once';
  /**
   * Its partitions advance in step of event time while they work off a backlog, so there always is one: at a log's end a partition holds
   * nobody, and a few seconds are days of event time here.
   */
  readonly isAligned: boolean;
  /** What it does without the store: it pauses unless stated. */
  readonly whenAway?: 'degrade';
}

/** A job under load. */
export interface Trial extends Omit<Job, 'close'> {
  readonly load: Load;
  readonly random: Random;
  /** Ends the load, and resolves when all of it has been dealt with and the processes have ended in order. */
  finish(): Promise<void>;
  /** Ends what still runs. */
  abandon(): Promise<void>;
}

const partitions = 4;
/** Records that wait in an aligned job's input, at least. */
const backlog = 4_000;
/** A fetch is much less than a partition's share of them: one that reaches the log's end counts as there until the next. */
const shortFetches = {
  'source.kafka.max_bytes_per_partition': 65_536,
  'source.kafka.prefetch_records': 200,
  'batch.max_events': 100,
};
/** Few, so that not all entities are in memory when the store goes. */
const degradingCache = 100;
/** Few, so that each has much of a history soon. */
const customers = 300;

export interface TrialOptions {
  readonly name: string;
  readonly seed: number;
  readonly mode: Mode;
  /** Processes at the beginning. */
  readonly members: number;
  readonly perSecond: number;
}

function settingsOf({ delivery, isAligned, whenAway }: Mode): JobOptions['settings'] {
  return {
    delivery,
    ...(isAligned ? shortFetches : { alignment: false }),
    ...(whenAway === undefined ? {} : { 'state.when_away': whenAway, 'state.cache_entities': degradingCache }),
  };
}

/** Starts the processes and the load. */
export async function startTrial(ground: Ground, options: TrialOptions): Promise<Trial> {
  const { name, seed, mode, members, perSecond } = options;
  const { close, ...job } = await createJob(ground, { name, partitions, settings: settingsOf(mode) });
  const { fleet, topics, dealtWith, caughtUp } = job;
  const records = inputRecords(seed, customers, seededRandom(seed ^ 0x6c6f6164));
  const pace = { perSecond, ...(mode.isAligned ? { backlog: { least: backlog, dealtWith } } : {}) };
  const load = startLoad(ground.cluster.brokers, topics.input, records, { ...pace, partitions });
  async function abandon(): Promise<void> {
    await load.abandon();
    await close();
  }
  try {
    if (mode.isAligned) await until('there is a backlog', async () => load.sent() >= backlog);
    const started = await Promise.all(Array.from({ length: members }, () => fleet.start()));
    const hasItsShare = async () =>
      (await Promise.all(started.map((member) => member.owned()))).every(
        ({ length }) => length === partitions / members,
      );
    await until('every process has its share', hasItsShare);
  } catch (error) {
    await abandon();
    throw error;
  }
  return {
    ...job,
    load,
    random: seededRandom(seed),
    async finish() {
      await load.stop();
      await caughtUp();
      await fleet.stop();
    },
    abandon,
  };
}
