import { cutConnections, killBroker, loseBroker, rollBrokers, stallBrokers } from './broker-faults.ts';
import type { GroundKind } from './ground.ts';
import { grow } from './growth.ts';
import { kill, rollOut, shrink, storm, zombie } from './process-faults.ts';
import { failStore, stallRedis } from './store-faults.ts';
import type { Mode, Trial } from './trial.ts';

/** Something that goes wrong while the job is under load. */
export interface Fault {
  readonly ground: GroundKind;
  /** How the job runs. */
  readonly mode: Mode;
  /** Lets it happen, and resolves when it is over. Gives the input partitions that it strikes. */
  run(trial: Trial): Promise<readonly number[]>;
}

const one = { brokers: 1, store: 'empty' } as const;
const oneKeeping = { brokers: 1, store: 'kept' } as const;
const replicated = { brokers: 1, store: 'replicated' } as const;
const cluster = { brokers: 1, store: 'cluster' } as const;
const three = { brokers: 3, store: 'kept' } as const;
/** Each partition at its own pace: what does not strike a partition does not hold it up. */
const exactlyOnce: Mode = { delivery: 'exactly-once', isAligned: false };
const atLeastOnce: Mode = { delivery: 'at-least-once', isAligned: false };
const aligned: Mode = { delivery: 'exactly-once', isAligned: true };

/** All faults by their names. Another is one more line. */
export const faults: Readonly<Record<string, Fault>> = {
  kill: { mode: exactlyOnce, ground: one, run: kill },
  'kill-at-least-once': { mode: atLeastOnce, ground: one, run: kill },
  'kill-aligned': { mode: aligned, ground: one, run: kill },
  zombie: { mode: exactlyOnce, ground: one, run: zombie },
  'zombie-at-least-once': { mode: atLeastOnce, ground: one, run: zombie },
  'roll-out': { mode: exactlyOnce, ground: one, run: rollOut },
  shrink: { mode: exactlyOnce, ground: one, run: shrink },
  storm: { mode: exactlyOnce, ground: one, run: storm },
  'storm-aligned': { mode: aligned, ground: one, run: storm },
  grow: { mode: exactlyOnce, ground: one, run: grow },
  cuts: { mode: exactlyOnce, ground: one, run: cutConnections },
  'redis-lost': { mode: exactlyOnce, ground: one, run: failStore },
  'redis-lost-at-least-once': { mode: atLeastOnce, ground: one, run: failStore },
  'redis-lost-aligned': { mode: aligned, ground: one, run: failStore },
  'redis-stall': { mode: exactlyOnce, ground: one, run: stallRedis },
  'redis-kept': { mode: exactlyOnce, ground: oneKeeping, run: failStore },
  'redis-promoted': { mode: exactlyOnce, ground: replicated, run: failStore },
  'redis-cluster-node': { mode: exactlyOnce, ground: cluster, run: failStore },
  'broker-stall': { mode: exactlyOnce, ground: one, run: stallBrokers },
  'only-broker-kill': { mode: exactlyOnce, ground: one, run: killBroker },
  'broker-kill': { mode: exactlyOnce, ground: three, run: killBroker },
  'broker-kill-at-least-once': { mode: atLeastOnce, ground: three, run: killBroker },
  'broker-gone': { mode: exactlyOnce, ground: three, run: loseBroker },
  'brokers-roll': { mode: exactlyOnce, ground: three, run: rollBrokers },
};
