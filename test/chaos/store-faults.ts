import { setTimeout as delay } from 'node:timers/promises';
import type { Trial } from './trial.ts';
import { until } from './until.ts';

const stallMs = 30_000;

const allPartitions = async (trial: Trial) => [...(await trial.positions()).keys()];

/** Redis dies, stays away for a while, and comes back with what it keeps. */
export async function killRedis(trial: Trial): Promise<readonly number[]> {
  const { ground, load, random } = trial;
  await ground.redis.kill();
  const target = load.sent() + random.below(1000);
  await until('the load goes on without Redis', async () => load.sent() >= target);
  await ground.redis.restart();
  return allPartitions(trial);
}

/** Redis does not answer any more; then it does again. */
export async function stallRedis(trial: Trial): Promise<readonly number[]> {
  trial.ground.redisProxy.stall();
  await delay(stallMs);
  trial.ground.redisProxy.heal();
  return allPartitions(trial);
}
