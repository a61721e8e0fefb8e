import { WeirError } from '../../runtime/errors.ts';
import type { LoadedEntity, LoadRequest, StoredSubState } from '../store.ts';
import { argumentOverhead, type CallWriter, type Reply, readScript, subStateHeader } from './call.ts';
import type { RedisKeys } from './keys.ts';

export const loadScript = readScript('load.lua');

/** Most keys of one call, and of what is sent before waiting: Redis serves nobody else during a call. */
const callKeys = 256;
const waveKeys = 8_192;

/** Requests (by index) of one slot group that travel in one call. */
export type LoadChunk = readonly number[];

/** Splits requests by slot group into calls, and these into round trips: one, but for very many entities. */
export function planLoad(requests: readonly LoadRequest[], keys: RedisKeys): LoadChunk[][] {
  const open = new Map<number, number[]>();
  const waves: LoadChunk[][] = [[]];
  let waveCount = 0;
  for (let index = 0; index < requests.length; index++) {
    if (waveCount++ === waveKeys) {
      waves.push([]);
      open.clear();
      waveCount = 1;
    }
    const group = keys.groupOf(requests[index].id);
    let chunk = open.get(group);
    if (chunk === undefined || chunk.length === callKeys) {
      chunk = [];
      open.set(group, chunk);
      waves[waves.length - 1].push(chunk);
    }
    chunk.push(index);
  }
  return waves;
}

/** What is the same in every call of a load. */
export interface LoadFacts {
  readonly owned: ReadonlySet<string>;
  /** Partitions whose fences are answered as well. */
  readonly watched: ReadonlyMap<string, number>;
  readonly nowMs: number;
}

/** Writes the call of a chunk; load.lua says what its arguments are. */
export function writeLoad(
  call: CallWriter,
  chunk: LoadChunk,
  requests: readonly LoadRequest[],
  { owned, watched, nowMs }: LoadFacts,
  keys: RedisKeys,
): void {
  const group = keys.groupOf(requests[chunk[0]].id);
  const fences = Array.from(watched.keys(), (partition) => keys.fence(group, partition));
  let bound = 3 * argumentOverhead + 40 + 8 * chunk.length;
  for (const index of chunk) bound += argumentOverhead + keys.bound(requests[index], group);
  for (const key of fences) bound += argumentOverhead + 3 * key.length;
  for (const name of owned) bound += argumentOverhead + 3 * name.length;
  call.begin(loadScript, chunk.length + fences.length, 3 + owned.size, bound);
  for (const index of chunk) call.text(keys.entityPrefixes(requests[index].type)[group] + requests[index].id);
  for (const key of fences) call.text(key);
  call.integer(chunk.length);
  call.integer(Math.floor(nowMs / 1000));
  call.doubles(chunk.length, (k) => requests[chunk[k]].version);
  for (const name of owned) call.text(name);
}

/** The fences in the answer to a chunk, in the order in which they were asked for; -1: none. */
export function readLoadedFences(reply: Reply): number[] {
  const packed = (reply as readonly Reply[])[2] as Buffer;
  return Array.from({ length: packed.length / 8 }, (_, index) => packed.readDoubleBE(8 * index));
}

/**
 * Reads the answer to a chunk into the answers of its requests.
 * @param lost partitions that have lost state in the chunk's slot group.
 */
export function readLoaded(
  reply: Reply,
  chunk: LoadChunk,
  lost: readonly string[] | undefined,
  answers: LoadedEntity[],
): void {
  const parts = reply as readonly Reply[];
  const facts = parts[0] as Buffer;
  const names = (parts[1] as readonly Buffer[]).map((name) => name.toString('utf8'));
  let at = 0;
  let part = 3;
  for (const index of chunk) {
    const version = facts.readDoubleBE(at);
    const count = facts.readUInt16BE(at + 8);
    at += 10;
    const subStates: StoredSubState[] = [];
    for (let k = 0; k < count; k++, at += 2) {
      const value = parts[part++] as Buffer;
      if (value.length < subStateHeader) {
        throw new WeirError('STORE', `a stored state is damaged: it has ${value.length} bytes`);
      }
      subStates.push({
        partition: names[facts.readUInt16BE(at)],
        offset: value.readDoubleBE(0),
        bytes: value.subarray(subStateHeader),
      });
    }
    answers[index] = lost === undefined ? { version, subStates } : { version, subStates, lost };
  }
}
