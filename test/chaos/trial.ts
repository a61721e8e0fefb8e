import { type Random, seededRandom } from '../../runtime/random.ts';
import type { Ground } from './ground.ts';
import { inputRecords } from './input.ts';
import { createJob, type Job } from './job.ts';
import { type Load, startLoad } from './load.ts';

/** How a job runs. */
export interface Mode {
  readonly delivery: 'exactly-once' | 'at-least-once';
  /** Its partitions advance in step of event time. */
  readonly isAligned: boolean;
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

/** Starts the processes and the load. */
export async function startTrial(ground: Ground, options: TrialOptions): Promise<Trial> {
  const { name, seed, mode, members, perSecond } = options;
  const settings = { delivery: mode.delivery, ...(mode.isAligned ? {} : { alignment: false }) };
  const { close, ...job } = await createJob(ground, { name, partitions, settings });
  const { fleet, topics, caughtUp } = job;
  await Promise.all(Array.from({ length: members }, () => fleet.start()));
  const records = inputRecords(seed, customers, seededRandom(seed ^ 0x6c6f6164));
  const load = startLoad(ground.cluster.brokers, topics.input, records, { perSecond, partitions });
  return {
    ...job,
    load,
    random: seededRandom(seed),
    async finish() {
      await load.stop();
      await caughtUp();
      await fleet.stop();
    },
    async abandon() {
      await load.abandon();
      await close();
    },
  };
}
