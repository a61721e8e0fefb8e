import type { RootDatabase } from 'lmdb';
import type { Clock } from '../../runtime/clock.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { fenceLifetimeMs, leastLifetimeMs, subStateExpiry } from '../expiry.ts';
import { LostStateError, type StateStore, type SubStateChange } from '../store.ts';
import type { EmbeddedStoreConfig } from './config.ts';
import {
  causeOf,
  closeRoot,
  type Entries,
  factsKey,
  isDisk,
  openRoot,
  readStateFacts,
  type StateFacts,
  unwritable,
} from './database.ts';
import { entityKey, hasExpired, mergeSubState, readEntity, withoutSubState } from './entry.ts';
import { damaged, openStateFolder } from './folder.ts';

export interface EmbeddedStoreOptions {
  readonly job: string;
  readonly recipe: string;
  /** How long an entity type's events are retained, milliseconds. */
  readonly retentionMs: (type: string) => number;
  readonly clock: Clock;
}

const dayMs = 86_400_000;
/** States of other jobs and recipes in the folder go when they were not opened for so long; no window is longer than 90 days. */
const unusedMs = 100 * dayMs;

/**
 * The state in an LMDB folder, for one process at a time. A flush is one transaction, so that a fence is never ahead of what it stands
 * for. A transaction is complete for every later start of the process when flush() resolves; it reaches the disk a moment later
 * (LMDB's overlapping sync), and after a loss of power the folder is as some earlier flush left it: what is missing is re-applied from
 * the log.
 * @throws WeirError STORE when the folder is in use, somebody else's, or damaged.
 */
export async function createEmbeddedStore(
  { path }: EmbeddedStoreConfig,
  { job, recipe, retentionMs, clock }: EmbeddedStoreOptions,
): Promise<StateStore> {
  const nowSeconds = () => Math.floor(clock.now() / 1000);
  const folder = openStateFolder(path);
  const name = `${job}:${recipe}`;
  let root: RootDatabase<Buffer, Buffer>;
  let entries: Entries;
  let facts: StateFacts;
  try {
    folder.states[name] = clock.now();
    root = openRoot(path);
    await dropUnused(root, folder.states, clock.now());
    entries = root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' });
    facts = readStateFacts(entries) ?? { sequence: 0, since: nowSeconds(), partitions: [] };
    folder.save();
  } catch (error) {
    folder.release();
    if (error instanceof WeirError) throw error;
    throw isDisk(error)
      ? unwritable(path, error, 'make room, and run the job again')
      : damaged(path, describeError(error));
  }
  let names = facts.partitions.map((partition) => partition.name);
  /** Partitions that lost a sub-state and have not asked for their fence since. */
  const discarded = new Set<string>();
  let sweptTo: Buffer | undefined;
  let queue: Promise<unknown> = Promise.resolve();
  /** Why the last flush failed. */
  let failure: unknown;

  /** The value as it is stored, valid until the next look-up. */
  function lookUp(key: Buffer): Buffer | undefined {
    const value: Uint8Array | undefined = entries.getBinaryFast(key);
    // Very long values come as plain bytes.
    return value === undefined || Buffer.isBuffer(value) ? value : Buffer.from(value);
  }

  async function write(partition: string, changes: readonly SubStateChange[], fence: number): Promise<void> {
    if (discarded.has(partition)) throw lostState(path, partition);
    const now = nowSeconds();
    const { draft, number } = draftFacts(facts, partition, fence, now);
    const swept = sweep(changes.length, now);
    const puts: [Buffer, Buffer][] = [];
    for (const change of changes) {
      const key = entityKey(change.type, change.id);
      const expiry = subStateExpiry(clock.now(), retentionMs(change.type));
      const value = mergeSubState(lookUp(key), draft.sequence, number, change, expiry, now);
      if (value !== undefined) puts.push([key, value]);
    }
    await commit(draft, () => {
      for (const key of swept.keys) entries.remove(key);
      for (const [key, value] of puts) entries.put(key, value);
    });
    names = draft.partitions.map((entry) => entry.name);
    sweptTo = swept.to;
  }

  async function discard(partition: string, key: Buffer): Promise<void> {
    const number = names.indexOf(partition);
    const value = lookUp(key);
    if (number < 0 || value === undefined) return;
    const partitions = facts.partitions.map((entry) => (entry.name === partition ? { ...entry, fence: 0 } : entry));
    const draft = { ...facts, sequence: facts.sequence + 1, partitions };
    const rest = withoutSubState(value, draft.sequence, number);
    await commit(draft, () => {
      entries.put(key, rest);
    });
    discarded.add(partition);
  }

  /** One transaction: the changes, and the facts that go with them. */
  async function commit(draft: StateFacts, changes: () => void): Promise<void> {
    try {
      await entries.batch(() => {
        changes();
        entries.put(factsKey, Buffer.from(JSON.stringify(draft)));
      });
    } catch (error) {
      failure = await causeOf(error);
      throw unwritable(path, failure, 'what is stored stays, and the write is repeated');
    }
    failure = undefined;
    facts = draft;
  }

  /** Some entities further on whose time is over, half as many looked at as are written: all get their turn, and nothing stops. */
  function sweep(changes: number, now: number): { keys: Buffer[]; to: Buffer | undefined } {
    const keys: Buffer[] = [];
    if (now < facts.since + leastLifetimeMs / 1000) return { keys, to: undefined };
    const limit = 16 + (changes >> 1);
    let to: Buffer | undefined;
    let looked = 0;
    for (const { key, value } of entries.getRange({ start: sweptTo ?? Buffer.from('"'), limit })) {
      if (hasExpired(value, now)) keys.push(key);
      to = key;
      looked++;
    }
    return { keys, to: looked < limit ? undefined : to };
  }

  return {
    async load(requests, owned) {
      const now = nowSeconds();
      return requests.map(({ type, id, version }) =>
        readEntity(lookUp(entityKey(type, id)), version, owned, names, now),
      );
    },
    flush(partition, changes, fence) {
      const done = queue.then(() => write(partition, changes, fence));
      queue = done.catch(() => undefined);
      return done;
    },
    async fence(partition) {
      discarded.delete(partition);
      const known = facts.partitions.find((entry) => entry.name === partition);
      return known !== undefined && known.until > nowSeconds() ? known.fence : undefined;
    },
    discard(partition, { type, id }) {
      const done = queue.then(() => discard(partition, entityKey(type, id)));
      queue = done.catch(() => undefined);
      return done;
    },
    async close() {
      await queue;
      try {
        await closeRoot(root, failure);
        folder.states[name] = clock.now();
        folder.save();
      } catch (error) {
        const whatNow = 'what is stored stays, and the rest is re-applied from the log when the job runs again';
        throw unwritable(path, error, whatNow);
      } finally {
        folder.release();
      }
    },
  };
}

async function dropUnused(root: RootDatabase<Buffer, Buffer>, states: Record<string, number>, nowMs: number) {
  for (const [name, usedAt] of Object.entries(states)) {
    if (nowMs - usedAt < unusedMs) continue;
    await root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' }).drop();
    delete states[name];
  }
}

/** The facts as they are once the flush is through, and the partition's number. */
function draftFacts(
  { sequence, since, partitions }: StateFacts,
  partition: string,
  fence: number,
  now: number,
): { draft: StateFacts; number: number } {
  const draft = { sequence: sequence + 1, since, partitions: partitions.slice() };
  const until = now + fenceLifetimeMs / 1000;
  const known = partitions.findIndex(({ name }) => name === partition);
  const number = known < 0 ? partitions.length : known;
  const before = known < 0 ? fence : partitions[known].fence;
  draft.partitions[number] = { name: partition, fence: Math.max(before, fence), until };
  return { draft, number };
}

function lostState(path: string, partition: string): WeirError {
  return new WeirError(
    'STORE',
    `a state of partition ${partition} in ${path} was damaged and is discarded; the partition re-applies its log`,
    { cause: new LostStateError('the partition has to ask for its fence and re-apply the log from there') },
  );
}
