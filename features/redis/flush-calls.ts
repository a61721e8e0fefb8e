import { fenceLifetimeMs, subStateExpiry } from '../expiry.ts';
import type { SubStateChange } from '../store.ts';
import { argumentOverhead, type CallWriter, readScript, subStateHeader } from './call.ts';
import type { RedisKeys } from './keys.ts';

export const flushScript = readScript('flush.lua');

/** Most entities of one call. */
export const flushCallKeys = 256;
/** Most bytes of one call, and most keys of what is sent before waiting: loads wait meanwhile. */
const callBytes = 1 << 19;
const waveKeys = 1_024;

/** Changes (by index) of one slot group that travel in one call; the last one of a group advances its fence. */
export interface FlushChunk {
  readonly group: number;
  readonly changes: readonly number[];
  /** Calls for the group that come before it. */
  readonly before: number;
  readonly isLast: boolean;
}

/** What is the same in every call of a flush. */
export interface FlushFacts {
  readonly partition: string;
  /** Of this flush alone: nobody else's calls have it, nor those of a repetition. Without spaces, not empty. */
  readonly name: string;
  readonly fence: number;
  /** By group: the fence that is known to be stored; -1: none. */
  readonly confirmed: ArrayLike<number>;
  readonly nowMs: number;
  readonly retentionMs: (type: string) => number;
}

/**
 * Splits changes by slot group into calls, and these into round trips. A group's last call comes after all others are answered:
 * its fence must not pass a change whose call has failed. The last change of all goes after all others are stored.
 */
export function planFlush(
  changes: readonly SubStateChange[],
  keys: RedisKeys,
  groups: number,
  callKeys: number,
): FlushChunk[][] {
  const open: { changes: number[]; bytes: number; before: number }[] = [];
  for (let group = 0; group < groups; group++) open.push({ changes: [], bytes: 0, before: 0 });
  const first: FlushChunk[] = [];
  for (let index = 0; index < changes.length; index++) {
    const group = keys.groupOf(changes[index].id);
    const chunk = open[group];
    const size = changes[index].bytes.length;
    if (chunk.changes.length === callKeys || (chunk.bytes > 0 && chunk.bytes + size > callBytes)) {
      first.push({ group, changes: chunk.changes, before: chunk.before, isLast: false });
      open[group] = { changes: [index], bytes: size, before: chunk.before + 1 };
    } else {
      chunk.changes.push(index);
      chunk.bytes += size;
    }
  }
  const last = open.map(({ changes, before }, group) => ({ group, changes, before, isLast: true }));
  const final = changes.length === 0 ? [] : last.splice(keys.groupOf(changes[changes.length - 1].id), 1);
  return [...waves(first), ...waves(last), ...waves(final)];
}

function waves(chunks: readonly FlushChunk[]): FlushChunk[][] {
  const all: FlushChunk[][] = [];
  let keysLeft = 0;
  for (const chunk of chunks) {
    keysLeft -= chunk.changes.length + 1;
    if (keysLeft < 0) {
      all.push([]);
      keysLeft = waveKeys - chunk.changes.length - 1;
    }
    all[all.length - 1].push(chunk);
  }
  return all;
}

/** Writes the call of a chunk; flush.lua says what its arguments are. */
export function writeFlush(
  call: CallWriter,
  { group, changes: indexes, before, isLast }: FlushChunk,
  changes: readonly SubStateChange[],
  { partition, name, fence, confirmed, nowMs, retentionMs }: FlushFacts,
  keys: RedisKeys,
): void {
  const fenceKey = keys.fence(group, partition);
  const isAlone = isLast && before === 0;
  const callsKey = isAlone ? '' : keys.calls(group, partition);
  const texts = fenceKey.length + callsKey.length + partition.length + name.length;
  let bound = 10 * argumentOverhead + 3 * texts + 6 * 20;
  for (const index of indexes) {
    bound += 2 * argumentOverhead + keys.bound(changes[index], group) + subStateHeader + changes[index].bytes.length;
  }
  call.begin(flushScript, (isAlone ? 1 : 2) + indexes.length, 8 + indexes.length, bound);
  call.text(fenceKey);
  for (const index of indexes) call.text(keys.entityPrefixes(changes[index].type)[group] + changes[index].id);
  if (!isAlone) call.text(callsKey);
  const now = Math.floor(nowMs / 1000);
  call.text(partition);
  call.integer(now);
  call.integer(Math.floor(nowMs));
  call.integer(confirmed[group]);
  call.integer(isLast ? fence : -1);
  call.integer(fenceLifetimeMs / 1000);
  call.integer(before);
  call.text(isAlone ? '' : name);
  for (const index of indexes) {
    const { type, offset, bytes } = changes[index];
    call.subState(offset, subStateExpiry(nowMs, retentionMs(type)), bytes);
  }
}
