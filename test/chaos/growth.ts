import { openRedisStore } from '../support/redis.ts';
import type { Trial } from './trial.ts';
import { until } from './until.ts';

const grown = 8;
/** Records of keys that have moved, at least. */
const movedRecords = 300;

/**
 * The topic grows. The order of two records of a key in two partitions is nobody's to know: so keys that move wait until the state holds all
 * that was sent of them, while the others go on.
 */
export async function grow(trial: Trial): Promise<readonly number[]> {
  const { admin, topics, load, progress } = trial;
  const before = await trial.positions();
  await admin.createPartitions({ topicPartitions: [{ topic: topics.input, count: grown }] });
  await load.grow(grown);
  await untilStored(trial);
  load.release();
  const added = Array.from({ length: grown }, (_, partition) => partition).filter(
    (partition) => !before.has(partition),
  );
  await progress(movedRecords, added);
  await until('the processes read all partitions', async () => (await ownedBy(trial)).size === grown);
  return [...(await trial.positions()).keys()];
}

async function ownedBy({ fleet }: Trial): Promise<Set<number>> {
  return new Set((await Promise.all(fleet.members().map((member) => member.owned()))).flat());
}

/** Until the state of all that is in the topic now is stored. */
async function untilStored({ admin, topics, ground, fleet }: Trial): Promise<void> {
  const recipe = /"recipe":"(\w+)"/.exec(fleet.members()[0].weir.stderr())![1];
  const settings = { url: ground.store.settings['state.redis.url'], groups: 4 };
  const store = await openRedisStore(settings, { job: topics.input, recipe });
  try {
    // A partition that was added has no leader at first.
    const ends = await until('the brokers say where the log ends', () =>
      admin.fetchTopicOffsets(topics.input).catch(() => undefined),
    );
    for (const { partition, high } of ends) {
      const isStored = async () => ((await store.fence(`${topics.input}:${partition}`)) ?? 0) >= Number(high);
      await until(`the state of partition ${partition} is stored`, isStored);
    }
  } finally {
    await store.close();
  }
}
