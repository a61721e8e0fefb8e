/** Reads a value out of a parsed record; undefined where there is none. */
export type Accessor = (record: unknown) => unknown;

/** The keys of a path such as $.a.b, $.items[0] or $['a.b']. */
export function pathKeys(path: string): (string | number)[] {
  return [...path.matchAll(/\.([A-Za-z_][\w-]*)|\[(\d+)\]|\['([^']+)'\]/g)].map(
    ([, plain, index, quoted]) => plain ?? quoted ?? Number(index),
  );
}

/** Own properties only: a record can't reach into prototypes. */
export function jsonAccessor(path: string): Accessor {
  const keys = pathKeys(path);
  if (keys.length === 1) {
    const [key] = keys;
    return (record) => step(record, key);
  }
  return (record) => {
    let value = record;
    for (let k = 0; k < keys.length; k++) value = step(value, keys[k]);
    return value;
  };
}

function step(parent: unknown, key: string | number): unknown {
  if (typeof parent !== 'object' || parent === null) return undefined;
  const value = (parent as Record<string | number, unknown>)[key];
  // Prototypes hold functions and objects; only for those it has to be asked whose they are.
  if (typeof value !== 'object' && typeof value !== 'function') return value;
  return Object.hasOwn(parent, key) ? value : undefined;
}
