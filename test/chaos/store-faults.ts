import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Trial } from './trial.ts';
import { until } from './until.ts';

const stallMs = 30_000;

const allPartitions = async (trial: Trial) => [...(await trial.positions()).keys()];

/** A Redis dies, stays away for a while, and comes back, or another one comes in its place, with what is kept. */
export async function failStore(trial: Trial): Promise<readonly number[]> {
  await trial.ground.store.fail(() => loadGoesOn(trial), trial.random);
  return allPartitions(trial);
}

/** Redis dies while the job goes on without it, and comes back. It is over when every partition is exact again. */
export async function degradeStore(trial: Trial): Promise<readonly number[]> {
  const { ground, fleet, progress, random } = trial;
  const degraded = async () => Promise.all(fleet.members().map((member) => member.metric('weir_degraded_partitions')));
  const owned = (await Promise.all(fleet.members().map((member) => member.owned()))).map(({ length }) => length);
  await ground.store.fail(async () => {
    await until('every partition goes on without Redis', async () => isDeepStrictEqual(await degraded(), owned));
    await progress(1 + random.below(1000));
  }, random);
  await until('no partition goes on without Redis', async () => (await degraded()).every((count) => count === 0));
  return allPartitions(trial);
}

async function loadGoesOn({ load, random }: Trial): Promise<void> {
  const target = load.sent() + random.below(1000);
  await until('the load goes on', async () => load.sent() >= target);
}

/** Redis does not answer any more; then it does again. */
export async function stallRedis(trial: Trial): Promise<readonly number[]> {
  const { proxies } = trial.ground.store;
  for (const proxy of proxies) proxy.stall();
  await delay(stallMs);
  for (const proxy of proxies) proxy.heal();
  return allPartitions(trial);
}
