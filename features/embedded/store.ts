import { setTimeout as delay } from 'node:timers/promises';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Clock } from '../../runtime/clock.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { fenceLifetimeMs, leastLifetimeMs, subStateExpiry } from '../expiry.ts';
import { LostStateError, type StateStore, type SubStateChange } from '../store.ts';
import type { EmbeddedStoreConfig } from './config.ts';
import { entityKey, hasExpired, mergeSubState, readEntity, withoutSubState } from './entry.ts';
import { damaged, openStateFolder } from './folder.ts';

export interface EmbeddedStoreOptions {
  readonly job: string;
  readonly recipe: string;
  /** How long an entity type's events are retained, milliseconds. */
  readonly retentionMs: (type: string) => number;
  readonly clock: Clock;
}

/** The one entry of a state that is no entity, as JSON; entity types begin with a letter. */
const factsKey = Buffer.from('!');

interface StateFacts {
  /** Raised by every flush; the version of what it changes. */
  sequence: number;
  /** Nothing was stored before, seconds. */
  since: number;
  /** By partition number. */
  partitions: PartitionFacts[];
}

interface PartitionFacts {
  name: string;
  /** Offset; the fence counts until `until`, seconds. */
  fence: number;
  until: number;
}

/** How long closing may take: LMDB tells nobody when its last sync fails. */
const closeMs = 10_000;

type Entries = Database<Buffer, Buffer>;

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

/**
 * Pages of 8 KiB: entities are small, and of each page that changes a copy is written. Without event-turn batching a failed commit
 * rejects the flush alone, not a promise that nobody has.
 */
function openRoot(path: string): RootDatabase<Buffer, Buffer> {
  return open({
    path,
    noSubdir: false,
    pageSize: 8192,
    maxDbs: 64,
    eventTurnBatching: false,
    encoding: 'binary',
    keyEncoding: 'binary',
  });
}

async function dropUnused(root: RootDatabase<Buffer, Buffer>, states: Record<string, number>, nowMs: number) {
  for (const [name, usedAt] of Object.entries(states)) {
    if (nowMs - usedAt < unusedMs) continue;
    await root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' }).drop();
    delete states[name];
  }
}

/** undefined for a state that was never written. */
export function readStateFacts(entries: Entries): StateFacts | undefined {
  const bytes = entries.getBinary(factsKey);
  return bytes === undefined ? undefined : JSON.parse(bytes.toString('utf8'));
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

/** LMDB waits for ever for a transaction that has failed to be on the disk: then it is left open, and goes with the process. */
async function closeRoot(root: RootDatabase<Buffer, Buffer>, failure: unknown): Promise<void> {
  if (failure !== undefined) throw failure;
  const timer = new AbortController();
  const tooLong = delay(closeMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`the disk did not take the last writes in ${closeMs / 1000} s`);
  });
  try {
    await Promise.race([Promise.resolve(root.flushed).then(() => root.close()), tooLong]);
  } finally {
    timer.abort();
    tooLong.catch(() => undefined);
  }
}

/** What made a commit fail; the error itself only says that it did. */
async function causeOf(error: unknown): Promise<unknown> {
  const cause = await (error as { commitError?: Promise<unknown> }).commitError?.catch((reason: unknown) => reason);
  return cause ?? error;
}

function unwritable(path: string, error: unknown, whatNow: string): WeirError {
  // What page was to be written where helps nobody.
  const message = describeError(error).split(': Attempting')[0];
  const why = isDisk(error) ? `the disk is full or fails (${message})` : message;
  return new WeirError('STORE', `the state folder ${path} cannot be written: ${why}; ${whatNow}`);
}

/** LMDB takes a write that is cut short by a full disk for an input/output error. */
function isDisk(error: unknown): boolean {
  return /ENOSPC|EDQUOT|EFBIG|No space left|quota|File too large|Input\/output/.test(describeError(error));
}
