/** What a key holds: a text, or the fields of a hash in the order in which they came. */
export type Value = Buffer | Map<string, Buffer>;

interface Entry {
  readonly value: Value;
  /** Milliseconds since the epoch; Infinity: never. */
  readonly expiresAt: number;
}

/** The data of one server, with what its replica has yet to learn. */
export interface Keyspace {
  text(key: string): Buffer | undefined;
  hash(key: string): ReadonlyMap<string, Buffer> | undefined;
  /** @param forMs how long it is kept. */
  setText(key: string, value: Buffer, forMs: number): void;
  setFields(key: string, fields: readonly (readonly [string, Buffer])[]): void;
  /** @returns how many fields went. */
  dropField(key: string, field: string): number;
  /** Milliseconds from now; what is over is gone at once. */
  expire(key: string, inMs: number): void;
  /** A replica takes over that has not got the last changes. */
  undo(changes: number): void;
  clear(): void;
  /** All that was stored of a partition, by an operator. */
  erase(partition: string): void;
  /** Goes up with every change, undone ones too. */
  readonly version: number;
}

const mostChanges = 200;

/** Told of what is written, before it is. */
export interface KeyspaceWatch {
  text(key: string, value: Buffer): void;
  field(key: string, field: string, value: Buffer): void;
}

/** @param now wall clock of the server, milliseconds since the epoch. */
export function createKeyspace(now: () => number, watch?: KeyspaceWatch): Keyspace {
  const entries = new Map<string, Entry>();
  let version = 0;
  const before: { readonly key: string; readonly entry: Entry | undefined }[] = [];

  function find(key: string): Entry | undefined {
    const entry = entries.get(key);
    return entry !== undefined && entry.expiresAt > now() ? entry : undefined;
  }

  function put(key: string, entry: Entry | undefined): void {
    version++;
    before.push({ key, entry: entries.get(key) });
    if (before.length > mostChanges) before.shift();
    if (entry === undefined) entries.delete(key);
    else entries.set(key, entry);
  }

  function hashEntry(key: string): Entry & { value: Map<string, Buffer> } {
    const entry = find(key) ?? { value: new Map<string, Buffer>(), expiresAt: Number.POSITIVE_INFINITY };
    if (!(entry.value instanceof Map))
      throw new Error('WRONGTYPE Operation against a key holding the wrong kind of value');
    return { ...entry, value: entry.value };
  }

  return {
    text: (key) => find(key)?.value as Buffer | undefined,
    hash: (key) => find(key)?.value as Map<string, Buffer> | undefined,
    setText(key, value, forMs) {
      watch?.text(key, value);
      put(key, { value, expiresAt: now() + forMs });
    },
    setFields(key, fields) {
      const entry = hashEntry(key);
      for (const [field, value] of fields) watch?.field(key, field, value);
      put(key, { ...entry, value: new Map([...entry.value, ...fields]) });
    },
    dropField(key, field) {
      const entry = hashEntry(key);
      if (!entry.value.has(field)) return 0;
      const value = new Map(entry.value);
      value.delete(field);
      put(key, value.size === 0 ? undefined : { ...entry, value });
      return 1;
    },
    expire(key, inMs) {
      const entry = find(key);
      if (entry) put(key, inMs > 0 ? { ...entry, expiresAt: now() + inMs } : undefined);
    },
    undo(changes) {
      version++;
      for (const { key, entry } of before.splice(Math.max(0, before.length - changes)).reverse()) {
        if (entry === undefined) entries.delete(key);
        else entries.set(key, entry);
      }
    },
    clear() {
      version++;
      entries.clear();
      before.length = 0;
    },
    erase(partition) {
      for (const [key, { value }] of [...entries]) {
        if (key.endsWith(`:FENCE:${partition}`)) put(key, undefined);
        else if (value instanceof Map && value.has(partition)) {
          const rest = new Map(value);
          rest.delete(partition);
          put(key, { ...entries.get(key)!, value: rest });
        }
      }
      // Operators see to it that replicas have it too.
      before.length = 0;
    },
    get version() {
      return version;
    },
  };
}
