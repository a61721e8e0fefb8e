import type { Member } from './fleet.ts';
import type { Trial } from './trial.ts';
import { until } from './until.ts';

function pick({ fleet, random }: Trial): Member {
  const members = fleet.members();
  return members[random.below(members.length)];
}

/** A process dies, others take over, and it comes back. */
export async function kill(trial: Trial): Promise<readonly number[]> {
  const victim = pick(trial);
  const owned = await victim.owned();
  await trial.fleet.kill(victim);
  await trial.progress(1 + trial.random.below(300), owned);
  await trial.fleet.start();
  return owned;
}

/** A process stands still until others have what it had, and then goes on as if nothing had been. */
export async function zombie(trial: Trial): Promise<readonly number[]> {
  const victim = pick(trial);
  const owned = await victim.owned();
  victim.weir.kill('SIGSTOP');
  await trial.progress(1 + trial.random.below(300), owned);
  victim.weir.kill('SIGCONT');
  return owned;
}

/** Each process ends in order, and another begins in its place. */
export async function rollOut(trial: Trial): Promise<readonly number[]> {
  const { fleet, random, progress } = trial;
  const moved = new Set<number>();
  for (const member of [...fleet.members()]) {
    for (const partition of await member.owned()) moved.add(partition);
    await fleet.drain(member);
    await fleet.start();
    await progress(random.below(400));
  }
  return [...moved];
}

/** The fleet shrinks to one process, and grows back. */
export async function shrink(trial: Trial): Promise<readonly number[]> {
  const { fleet, random, progress } = trial;
  const moved = new Set<number>();
  while (fleet.members().length > 1) {
    const leaver = pick(trial);
    for (const partition of await leaver.owned()) moved.add(partition);
    await fleet.drain(leaver);
  }
  await progress(300 + random.below(300));
  const [before] = fleet.members();
  const all = await before.owned();
  await fleet.start();
  await until('the newcomer has its share', async () => (await before.owned()).length < all.length);
  return [...moved];
}

const stormSteps = 6;
const mostMembers = 4;

/** Processes come, go and die before the group has settled. */
export async function storm(trial: Trial): Promise<readonly number[]> {
  const { fleet, random, progress } = trial;
  for (let step = 0; step < stormSteps; step++) {
    const count = fleet.members().length;
    if (count === 1 || (count < mostMembers && random.below(2) === 0)) await fleet.start();
    else if (random.below(2) === 0) await fleet.drain(pick(trial));
    else await fleet.kill(pick(trial));
    await progress(random.below(300));
  }
  return [...(await trial.positions()).keys()];
}
