import { fenceLifetimeMs, subStateExpiry } from '../expiry.ts';
import type { SubStateChange } from '../store.ts';
import { argumentOverhead, type CallWriter, readScript, subStateHeader } from './call.ts';
import type { RedisKeys } from './keys.ts';

export const flushScript = readScript('flush.lua');

/** Most keys and bytes of one call, and most keys of what is sent before waiting: loads wait meanwhile. */
const callKeys = 256;
const callBytes = 1 << 19;
const waveKeys = 1_024;

/** Changes (by index) of one slot group that travel in one call; the last one of a group advances its fence. */
export interface FlushChunk {
  readonly group: number;
  readonly changes: readonly number[];
  readonly isLast: boolean;
}

/** What is the same in every call of a flush. */
export interface FlushFacts {
  readonly partition: string;
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
export function planFlush(changes: readonly SubStateChange[], keys: RedisKeys, groups: number): FlushChunk[][] {
  const open: { changes: number[]; bytes: number }[] = [];
  for (let group = 0; group < groups; group++) open.push({ changes: [], bytes: 0 });
  const before: FlushChunk[] = [];
  for (let index = 0; index < changes.length; index++) {
    const group = keys.groupOf(changes[index].id);
    const chunk = open[group];
    const size = changes[index].bytes.length;
    if (chunk.changes.length === callKeys || (chunk.bytes > 0 && chunk.bytes + size > callBytes)) {
      before.push({ group, changes: chunk.changes, isLast: false });
      open[group] = { changes: [index], bytes: size };
    } else {
      chunk.changes.push(index);
      chunk.bytes += size;
    }
  }
  const last = open.map(({ changes }, group) => ({ group, changes, isLast: true }));
  const final = changes.length === 0 ? [] : last.splice(keys.groupOf(changes[changes.length - 1].id), 1);
  return [...waves(before), ...waves(last), ...waves(final)];
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
  { group, changes: indexes, isLast }: FlushChunk,
  changes: readonly SubStateChange[],
  { partition, fence, confirmed, nowMs, retentionMs }: FlushFacts,
  keys: RedisKeys,
): void {
  const fenceKey = keys.fence(group, partition);
  let bound = 7 * argumentOverhead + 3 * (fenceKey.length + partition.length) + 5 * 20;
  for (const index of indexes) {
    bound += 2 * argumentOverhead + keys.bound(changes[index], group) + subStateHeader + changes[index].bytes.length;
  }
  call.begin(flushScript, 1 + indexes.length, 6 + indexes.length, bound);
  call.text(fenceKey);
  for (const index of indexes) call.text(keys.entityPrefixes(changes[index].type)[group] + changes[index].id);
  const now = Math.floor(nowMs / 1000);
  call.text(partition);
  call.integer(now);
  call.integer(Math.floor(nowMs));
  call.integer(confirmed[group]);
  call.integer(isLast ? fence : -1);
  call.integer(fenceLifetimeMs / 1000);
  for (const index of indexes) {
    const { type, offset, bytes } = changes[index];
    call.subState(offset, subStateExpiry(nowMs, retentionMs(type)), bytes);
  }
}
