import {
  type Allowance,
  alignedLoss,
  alignedTakeOver,
  degradation,
  election,
  handOver,
  longPause,
  loss,
  manyTakeOvers,
  pause,
  takeOver,
} from './allowance.ts';
import { cutConnections, killBroker, loseBroker, rollBrokers, stallBrokers } from './broker-faults.ts';
import type { GroundKind } from './ground.ts';
import { grow } from './growth.ts';
import { kill, rollOut, shrink, storm, zombie } from './process-faults.ts';
import { degradeStore, failStore, stallRedis } from './store-faults.ts';
import type { Mode, Trial } from './trial.ts';

/** Something that goes wrong while the job is under load. */
export interface Fault {
  readonly ground: GroundKind;
  /** How the job runs. */
  readonly mode: Mode;
  /** Lets it happen, and resolves when it is over. Gives the input partitions that it strikes. */
  run(trial: Trial): Promise<readonly number[]>;
  readonly allowance: Allowance;
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
const degrading: Mode = { ...exactlyOnce, whenAway: 'degrade' };

/** All faults by their names. Another is one more line. */
export const faults: Readonly<Record<string, Fault>> = {
  kill: { mode: exactlyOnce, ground: one, run: kill, allowance: takeOver },
  'kill-at-least-once': { mode: atLeastOnce, ground: one, run: kill, allowance: takeOver },
  'kill-aligned': { mode: aligned, ground: one, run: kill, allowance: alignedTakeOver },
  zombie: { mode: exactlyOnce, ground: one, run: zombie, allowance: takeOver },
  'zombie-at-least-once': { mode: atLeastOnce, ground: one, run: zombie, allowance: takeOver },
  'roll-out': { mode: exactlyOnce, ground: one, run: rollOut, allowance: handOver },
  shrink: { mode: exactlyOnce, ground: one, run: shrink, allowance: handOver },
  storm: { mode: exactlyOnce, ground: one, run: storm, allowance: manyTakeOvers },
  'storm-aligned': { mode: aligned, ground: one, run: storm, allowance: manyTakeOvers },
  grow: { mode: exactlyOnce, ground: one, run: grow, allowance: handOver },
  cuts: { mode: exactlyOnce, ground: one, run: cutConnections, allowance: pause },
  'redis-lost': { mode: exactlyOnce, ground: one, run: failStore, allowance: loss },
  'redis-lost-at-least-once': { mode: atLeastOnce, ground: one, run: failStore, allowance: loss },
  'redis-lost-aligned': { mode: aligned, ground: one, run: failStore, allowance: alignedLoss },
  'redis-stall': { mode: exactlyOnce, ground: one, run: stallRedis, allowance: longPause },
  'redis-lost-degrade': { mode: degrading, ground: one, run: degradeStore, allowance: degradation },
  'redis-kept-degrade': { mode: degrading, ground: oneKeeping, run: degradeStore, allowance: degradation },
  'redis-kept': { mode: exactlyOnce, ground: oneKeeping, run: failStore, allowance: pause },
  'redis-promoted': { mode: exactlyOnce, ground: replicated, run: failStore, allowance: loss },
  'redis-cluster-node': { mode: exactlyOnce, ground: cluster, run: failStore, allowance: loss },
  'broker-stall': { mode: exactlyOnce, ground: one, run: stallBrokers, allowance: longPause },
  'only-broker-kill': { mode: exactlyOnce, ground: one, run: killBroker, allowance: pause },
  'broker-kill': { mode: exactlyOnce, ground: three, run: killBroker, allowance: election },
  'broker-kill-at-least-once': { mode: atLeastOnce, ground: three, run: killBroker, allowance: election },
  'broker-gone': { mode: exactlyOnce, ground: three, run: loseBroker, allowance: election },
  'brokers-roll': { mode: exactlyOnce, ground: three, run: rollBrokers, allowance: election },
};
