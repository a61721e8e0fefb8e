import type { RootDatabase } from 'lmdb';
import type { Clock } from '../../runtime/clock.ts';
import { describeError } from '../../runtime/errors.ts';
import { frontierId, frontierType } from '../frontier.ts';
import type { Limits, Rewinder } from '../rewinder.ts';
import type { EmbeddedStoreConfig } from './config.ts';
import {
  causeOf,
  closeRoot,
  type Entries,
  factsKey,
  fencesOf,
  openRoot,
  readStateFacts,
  unwritable,
} from './database.ts';
import { entityKey, reachOf, withoutSubState } from './entry.ts';
import { damaged, openStateFolder } from './folder.ts';

export interface EmbeddedRewinderOptions {
  readonly job: string;
  readonly recipe: string;
  readonly clock: Clock;
}

/** Entities that are looked at between two steps. */
const stepEntities = 1_000;
/** The first key behind that of the facts. */
const firstEntity = Buffer.from('"');
const frontierKey = entityKey(frontierType, frontierId);

/**
 * The folder belongs to it until it is closed.
 * @throws WeirError STORE when a process has the folder open, it is somebody else's, or damaged.
 */
export async function createEmbeddedRewinder(
  { path }: EmbeddedStoreConfig,
  { job, recipe, clock }: EmbeddedRewinderOptions,
): Promise<Rewinder> {
  const folder = openStateFolder(path);
  const name = `${job}:${recipe}`;
  let root: RootDatabase<Buffer, Buffer>;
  let entries: Entries | undefined;
  let failure: unknown;
  try {
    root = openRoot(path);
    // Opening makes what is not there.
    if (name in folder.states) entries = root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' });
  } catch (error) {
    folder.release();
    throw damaged(path, describeError(error));
  }
  const facts = () => (entries === undefined ? undefined : readStateFacts(entries));

  /** Entities step by step, each with the numbers of the partitions whose sub-state reaches beyond its limit. */
  function* beyond(limits: Limits): Generator<{ key: Buffer; value: Buffer; numbers: number[] }[]> {
    const partitions = facts()?.partitions ?? [];
    const asked = [...partitions.entries()].filter(([, { name }]) => limits.has(name));
    let from: Buffer | undefined = asked.length > 0 ? firstEntity : undefined;
    while (from !== undefined) {
      const step = [...entries!.getRange({ start: from, limit: stepEntities })];
      yield step
        .filter(({ key }) => !key.equals(frontierKey))
        .map(({ key, value }) => {
          const reaching = asked.filter(([number, { name }]) => reachOf(value, number) > limits.get(name)!);
          return { key, value, numbers: reaching.map(([number]) => number) };
        })
        .filter(({ numbers }) => numbers.length > 0);
      // A key is followed by itself with a zero byte.
      from = step.length < stepEntities ? undefined : Buffer.concat([step[step.length - 1].key, Buffer.from([0])]);
    }
  }

  async function commit(change: () => void): Promise<void> {
    try {
      await entries!.batch(change);
    } catch (error) {
      failure = await causeOf(error);
      throw unwritable(path, failure, 'what is dropped by now is made anew from the log, run the command again');
    }
  }

  async function dropFences(limits: Limits): Promise<void> {
    const known = facts();
    if (known === undefined) return;
    const partitions = known.partitions.map((of) => (limits.has(of.name) ? { ...of, fence: 0, until: 0 } : of));
    const without = { ...known, sequence: known.sequence + 1, partitions };
    const numbers = [...partitions.keys()].filter((number) => limits.has(partitions[number].name));
    const frontiers = entries!.getBinary(frontierKey);
    await commit(() => {
      entries!.put(factsKey, Buffer.from(JSON.stringify(without)));
      if (frontiers !== undefined) entries!.put(frontierKey, withoutAll(frontiers, without.sequence, numbers));
    });
  }

  const count = (counts: Map<string, number>, numbers: readonly number[]) => {
    const { partitions } = facts()!;
    for (const number of numbers) counts.set(partitions[number].name, (counts.get(partitions[number].name) ?? 0) + 1);
  };

  return {
    async fences(partitions) {
      const fences = fencesOf(facts()?.partitions ?? [], Math.floor(clock.now() / 1000));
      return partitions.map((partition) => fences.get(partition));
    },
    async countBeyond(limits) {
      const counts = new Map<string, number>();
      for (const step of beyond(limits)) for (const { numbers } of step) count(counts, numbers);
      return counts;
    },
    async eraseBeyond(limits, demand) {
      const counts = new Map<string, number>();
      demand();
      await dropFences(limits);
      for (const step of beyond(limits)) {
        demand();
        const { sequence } = facts()!;
        await commit(() => {
          for (const { key, value, numbers } of step) {
            entries!.put(key, withoutAll(value, sequence, numbers));
          }
        });
        for (const { numbers } of step) count(counts, numbers);
      }
      return counts;
    },
    async close() {
      try {
        await closeRoot(root, failure);
        folder.save();
      } finally {
        folder.release();
      }
    },
  };
}

function withoutAll(value: Buffer, version: number, partitions: readonly number[]): Buffer {
  return partitions.reduce((left, partition) => withoutSubState(left, version, partition), value);
}
