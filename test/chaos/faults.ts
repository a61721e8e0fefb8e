import { cutConnections, killBroker, loseBroker, rollBrokers, stallBrokers } from './broker-faults.ts';
import type { GroundKind } from './ground.ts';
import { grow } from './growth.ts';
import type { Delivery } from './job.ts';
import { kill, rollOut, shrink, storm, zombie } from './process-faults.ts';
import { killRedis, stallRedis } from './store-faults.ts';
import type { Trial } from './trial.ts';

/** Something that goes wrong while the job is under load. */
export interface Fault {
  readonly ground: GroundKind;
  readonly delivery: Delivery;
  /** Lets it happen, and resolves when it is over. Gives the input partitions that it strikes. */
  run(trial: Trial): Promise<readonly number[]>;
}

const one = { brokers: 1, redisKeeps: false } as const;
const oneKeeping = { brokers: 1, redisKeeps: true } as const;
const three = { brokers: 3, redisKeeps: true } as const;
const exactlyOnce = { delivery: 'exactly-once' } as const;
const atLeastOnce = { delivery: 'at-least-once' } as const;

/** All faults by their names. Another is one more line. */
export const faults: Readonly<Record<string, Fault>> = {
  kill: { ...exactlyOnce, ground: one, run: kill },
  'kill-at-least-once': { ...atLeastOnce, ground: one, run: kill },
  zombie: { ...exactlyOnce, ground: one, run: zombie },
  'zombie-at-least-once': { ...atLeastOnce, ground: one, run: zombie },
  'roll-out': { ...exactlyOnce, ground: one, run: rollOut },
  shrink: { ...exactlyOnce, ground: one, run: shrink },
  storm: { ...exactlyOnce, ground: one, run: storm },
  grow: { ...exactlyOnce, ground: one, run: grow },
  cuts: { ...exactlyOnce, ground: one, run: cutConnections },
  'redis-lost': { ...exactlyOnce, ground: one, run: killRedis },
  'redis-lost-at-least-once': { ...atLeastOnce, ground: one, run: killRedis },
  'redis-stall': { ...exactlyOnce, ground: one, run: stallRedis },
  'redis-kept': { ...exactlyOnce, ground: oneKeeping, run: killRedis },
  'broker-stall': { ...exactlyOnce, ground: one, run: stallBrokers },
  'only-broker-kill': { ...exactlyOnce, ground: one, run: killBroker },
  'broker-kill': { ...exactlyOnce, ground: three, run: killBroker },
  'broker-kill-at-least-once': { ...atLeastOnce, ground: three, run: killBroker },
  'broker-gone': { ...exactlyOnce, ground: three, run: loseBroker },
  'brokers-roll': { ...exactlyOnce, ground: three, run: rollBrokers },
};
