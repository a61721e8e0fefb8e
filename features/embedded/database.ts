import { setTimeout as delay } from 'node:timers/promises';
import { type Database, open, type RootDatabase } from 'lmdb';
import { describeError, WeirError } from '../../runtime/errors.ts';

/** The one entry of a state that is no entity, as JSON; entity types begin with a letter. */
export const factsKey = Buffer.from('!');

export interface StateFacts {
  /** Raised by every flush; the version of what it changes. */
  sequence: number;
  /** Nothing was stored before, seconds. */
  since: number;
  /** By partition number. */
  partitions: PartitionFacts[];
}

export interface PartitionFacts {
  name: string;
  /** Offset; the fence counts until `until`, seconds. */
  fence: number;
  until: number;
}

export type Entries = Database<Buffer, Buffer>;

/** How long closing may take: LMDB tells nobody when its last sync fails. */
const closeMs = 10_000;

/**
 * Pages of 8 KiB: entities are small, and of each page that changes a copy is written. Without event-turn batching a failed commit
 * rejects the flush alone, not a promise that nobody has.
 */
export function openRoot(path: string): RootDatabase<Buffer, Buffer> {
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

/** undefined for a state that was never written. */
export function readStateFacts(entries: Entries): StateFacts | undefined {
  const bytes = entries.getBinary(factsKey);
  return bytes === undefined ? undefined : JSON.parse(bytes.toString('utf8'));
}

/** The fences that count at the time (seconds), by partition's name. */
export function fencesOf(partitions: readonly PartitionFacts[], now: number): Map<string, number> {
  return new Map(partitions.filter(({ until }) => until > now).map(({ name, fence }) => [name, fence]));
}

/** LMDB waits for ever for a transaction that has failed to be on the disk: then it is left open, and goes with the process. */
export async function closeRoot(root: RootDatabase<Buffer, Buffer>, failure: unknown): Promise<void> {
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
export async function causeOf(error: unknown): Promise<unknown> {
  const cause = await (error as { commitError?: Promise<unknown> }).commitError?.catch((reason: unknown) => reason);
  return cause ?? error;
}

export function unwritable(path: string, error: unknown, whatNow: string): WeirError {
  // What page was to be written where helps nobody.
  const message = describeError(error).split(': Attempting')[0];
  const why = isDisk(error) ? `the disk is full or fails (${message})` : message;
  return new WeirError('STORE', `the state folder ${path} cannot be written: ${why}; ${whatNow}`);
}

/** LMDB takes a write that is cut short by a full disk for an input/output error. */
export function isDisk(error: unknown): boolean {
  return /ENOSPC|EDQUOT|EFBIG|No space left|quota|File too large|Input\/output/.test(describeError(error));
}
