import { setTimeout as delay } from 'node:timers/promises';
import type { Trial } from './trial.ts';
import { until } from './until.ts';

const stallMs = 30_000;

const allPartitions = async (trial: Trial) => [...(await trial.positions()).keys()];

/** A Redis dies, stays away for a while, and comes back, or another one comes in its place, with what is kept. */
export async function failStore(trial: Trial): Promise<readonly number[]> {
  const { ground, load, random } = trial;
  await ground.store.fail(async () => {
    const target = load.sent() + random.below(1000);
    await until('the load goes on', async () => load.sent() >= target);
  });
  return allPartitions(trial);
}

/** Redis does not answer any more; then it does again. */
export async function stallRedis(trial: Trial): Promise<readonly number[]> {
  const { proxies } = trial.ground.store;
  for (const proxy of proxies) proxy.stall();
  await delay(stallMs);
  for (const proxy of proxies) proxy.heal();
  return allPartitions(trial);
}
