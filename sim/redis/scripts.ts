import type { Reply } from '../../features/redis/call.ts';
import type { Keyspace } from './keyspace.ts';

/** The scripts of features/redis once more, on a simulated server; test/sim/redis.test.ts holds them against the real ones. */
export type ScriptTwin = (keyspace: Keyspace, keys: readonly string[], args: readonly Buffer[]) => Reply;

const offsetOf = (value: Buffer) => value.readDoubleBE(0);
const expiryOf = (value: Buffer) => value.readUInt32BE(8);

/** flush.lua. */
export const flushTwin: ScriptTwin = (keyspace, [fenceKey, ...keys], args) => {
  const [partition, now, least, confirmed, fence, lifetime, before, flush, ...values] = args;
  const name = partition.toString('utf8');
  const held = Number(keyspace.text(fenceKey) ?? -1);
  if (held < Number(confirmed)) return 0;
  const callsKey = keys[values.length];
  const [calls, former] = String(keyspace.text(callsKey) ?? '0 ').split(' ');
  const done = former === String(flush) ? Number(calls) : 0;
  if (done < Number(before)) return 0;
  for (const [index, value] of values.entries()) {
    const key = keys[index];
    const fields = keyspace.hash(key);
    const stored = fields?.get(name);
    if (stored !== undefined && offsetOf(stored) >= offsetOf(value)) continue;
    const version = Math.max(Number(least), Number(fields?.get('v') ?? -1) + 1);
    keyspace.setFields(key, [
      ['v', Buffer.from(String(version))],
      [name, value],
    ]);
    if (stored === undefined || expiryOf(stored) !== expiryOf(value)) {
      keyspace.expire(key, (expiryOf(value) - Number(now)) * 1_000);
    }
  }
  if (flush.length > 0 && done === Number(before)) {
    keyspace.setText(callsKey, Buffer.from(`${done + 1} ${flush}`), Number(lifetime) * 1_000);
  }
  if (Number(fence) >= 0) {
    keyspace.setText(fenceKey, Buffer.from(String(Math.max(held, Number(fence)))), Number(lifetime) * 1_000);
  }
  return 1;
};

/** load.lua. */
export const loadTwin: ScriptTwin = (keyspace, keys, [entityCount, now, known, ...owned]) => {
  const count = Number(entityCount);
  const isOwned = new Set(owned.map((name) => name.toString('utf8')));
  const names: string[] = [];
  const facts: Buffer[] = [];
  const values: Buffer[] = [];
  for (const [index, key] of keys.slice(0, count).entries()) {
    const seen = known.readDoubleBE(index * 8);
    const fields = keyspace.hash(key) ?? new Map<string, Buffer>();
    const version = Number(fields.get('v') ?? 0);
    const indexes: number[] = [];
    if (seen === 0 || version !== seen) {
      for (const [name, value] of fields) {
        if (name === 'v') continue;
        if (expiryOf(value) <= Number(now)) keyspace.dropField(key, name);
        else if (seen === 0 || !isOwned.has(name)) {
          if (!names.includes(name)) names.push(name);
          indexes.push(names.indexOf(name));
          values.push(value);
        }
      }
    }
    facts.push(entityFacts(version, indexes));
  }
  const fences = keys.slice(count).map((key) => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(Number(keyspace.text(key) ?? -1), 0);
    return bytes;
  });
  return [Buffer.concat(facts), names.map((name) => Buffer.from(name)), Buffer.concat(fences), ...values];
};

/** f64 version, u16 count, and as many u16 indexes; big-endian. */
function entityFacts(version: number, indexes: readonly number[]): Buffer {
  const bytes = Buffer.alloc(10 + 2 * indexes.length);
  bytes.writeDoubleBE(version, 0);
  bytes.writeUInt16BE(indexes.length, 8);
  for (const [k, index] of indexes.entries()) bytes.writeUInt16BE(index, 10 + 2 * k);
  return bytes;
}
