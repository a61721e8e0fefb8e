import { createHash } from 'node:crypto';
import type { LoadedEntity, StoredSubState } from '../store.ts';

/**
 * How an entity is kept in LMDB. Key: "type:id" in UTF-8. Value, big-endian:
 *   f64 version | per sub-state: u16 partition number, f64 offset, u32 expiry in seconds, u32 length, bytes
 */
const versionBytes = 8;
const headerBytes = 18;
const longestKey = 512;

export function entityKey(type: string, id: string): Buffer {
  const key = Buffer.from(`${type}:${id}`);
  if (key.length <= longestKey) return key;
  // Longer than LMDB's keys may be: the digest stands for the id. The byte 255 does not occur in UTF-8.
  return Buffer.concat([Buffer.from(`${type}:`), Buffer.from([255]), createHash('sha256').update(id).digest()]);
}

/**
 * The entity as an answer. The value is only read: it may lie in memory that the next look-up writes over.
 * @param names partition names by number.
 */
export function readEntity(
  value: Buffer | undefined,
  seen: number,
  owned: ReadonlySet<string>,
  names: readonly string[],
  now: number,
): LoadedEntity {
  if (value === undefined) return { version: 0, subStates: [] };
  const version = value.readDoubleBE(0);
  const subStates: StoredSubState[] = [];
  if (version === seen) return { version, subStates };
  const end = value.length;
  for (let at = versionBytes; at < end; at = next(value, at)) {
    const partition = names[value.readUInt16BE(at)];
    if (value.readUInt32BE(at + 10) <= now || (seen !== 0 && owned.has(partition))) continue;
    subStates.push({
      partition,
      offset: value.readDoubleBE(at + 2),
      bytes: copyOf(value, at + headerBytes, next(value, at)),
    });
  }
  return { version, subStates };
}

/** Through where a partition's sub-state reaches; -1: there is none. */
export function reachOf(value: Buffer, partition: number): number {
  for (let at = versionBytes; at < value.length; at = next(value, at))
    if (value.readUInt16BE(at) === partition) return value.readDoubleBE(at + 2);
  return -1;
}

/** The value without one partition's sub-state. */
export function withoutSubState(value: Buffer, version: number, partition: number): Buffer {
  const head = Buffer.alloc(versionBytes);
  head.writeDoubleBE(version);
  const parts: Uint8Array[] = [head];
  for (let at = versionBytes; at < value.length; at = next(value, at))
    if (value.readUInt16BE(at) !== partition) parts.push(value.subarray(at, next(value, at)));
  return Buffer.concat(parts);
}

/**
 * The value with one partition's sub-state in it, and without those whose time is over.
 * @returns undefined when what is stored reaches as far already.
 */
export function mergeSubState(
  value: Buffer | undefined,
  version: number,
  partition: number,
  change: { readonly offset: number; readonly bytes: Uint8Array },
  expiry: number,
  now: number,
): Buffer | undefined {
  const kept: [number, number][] = [];
  let length = versionBytes + headerBytes + change.bytes.length;
  const end = value === undefined ? 0 : value.length;
  for (let at = versionBytes; at < end; at = next(value!, at)) {
    if (value!.readUInt16BE(at) === partition) {
      if (value!.readDoubleBE(at + 2) >= change.offset) return undefined;
    } else if (value!.readUInt32BE(at + 10) > now) {
      kept.push([at, next(value!, at)]);
      length += next(value!, at) - at;
    }
  }
  const out = Buffer.allocUnsafe(length);
  let at = out.writeDoubleBE(version, 0);
  for (const [from, to] of kept) {
    value!.copy(out, at, from, to);
    at += to - from;
  }
  at = out.writeUInt16BE(partition, at);
  at = out.writeDoubleBE(change.offset, at);
  at = out.writeUInt32BE(expiry, at);
  at = out.writeUInt32BE(change.bytes.length, at);
  out.set(change.bytes, at);
  return out;
}

/** Whether nothing of the value is of use any more. */
export function hasExpired(value: Buffer, now: number): boolean {
  for (let at = versionBytes; at < value.length; at = next(value, at)) {
    if (value.readUInt32BE(at + 10) > now) return false;
  }
  return true;
}

function copyOf(value: Buffer, from: number, to: number): Buffer {
  const bytes = Buffer.allocUnsafe(to - from);
  value.copy(bytes, 0, from, to);
  return bytes;
}

function next(value: Buffer, at: number): number {
  return at + headerBytes + value.readUInt32BE(at + 14);
}
