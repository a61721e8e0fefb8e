import type { Loaded } from '../../features/cache.ts';
import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import { compileFeatures } from '../../features/definition.ts';
import { createFeatureEngine } from '../../features/engine.ts';
import { featureStates, newRows } from '../../features/rows.ts';
import type { LoadedEntity, LoadRequest, StateStore, SubStateChange } from '../../features/store.ts';
import { clockAt } from './clock.ts';

/** Feature engines of several processes over one store in memory, for tests of who knows what when. */

const layout: EventLayout = {
  fields: [{ name: 'amount', type: 'money', scale: 2, optional: false }],
  entities: [{ name: 'card' }, { name: 'terminal' }],
};
/** @param delay of the terminal's features. */
const compile = (delay?: string) =>
  compileFeatures(
    [
      { entity: 'card', windows: ['1h'], aggregates: ['count', 'sum(amount)'], current: 'include' },
      { entity: 'terminal', windows: ['1h'], aggregates: ['count'], current: 'include', delay },
    ],
    {},
    layout,
    0,
  ).set!;
const undelayed = compile();
/** The terminal's features end two hours before each event. */
export const delayedTerminals = compile('2h');
export const minute = 60_000;

/** Events of one card and terminal each: offset n at minute n, of n major units. */
export function batchOf(offsets: readonly number[], card = 'c', terminal = ''): TransactionBatch {
  return {
    count: offsets.length,
    ids: offsets.map(String),
    times: Float64Array.from(offsets, (offset) => offset * minute),
    kinds: offsets.map(() => 'authorization'),
    unscored: new Uint8Array(offsets.length),
    refersTo: offsets.map(() => ''),
    offsets: Float64Array.from(offsets),
    rawIndexes: Int32Array.from(offsets, (_, row) => row),
    numbers: [Float64Array.from(offsets, (offset) => offset * 100)],
    texts: [[]],
    entityIds: [offsets.map(() => card), offsets.map(() => terminal)],
    sources: [],
  };
}

/** A store in memory. Loads see it as it is when they are asked, and answer when the test lets them. */
export function heldStore() {
  const entities = new Map<
    string,
    { version: number; subStates: Map<string, { offset: number; bytes: Uint8Array }> }
  >();
  const held: { answer: () => void; fail: (error: Error) => void; requests: readonly LoadRequest[] }[] = [];
  let isHolding = false;
  const look = ({ type, id, version }: LoadRequest, owned: ReadonlySet<string>): LoadedEntity => {
    const found = entities.get(`${type} ${id}`);
    if (!found || found.version === version) return { version: found?.version ?? 0, subStates: [] };
    const subStates = [...found.subStates]
      .filter(([partition]) => version === 0 || !owned.has(partition))
      .map(([partition, state]) => ({ partition, ...state }));
    return { version: found.version, subStates };
  };
  const keep = (partition: string, { type, id, offset, bytes }: SubStateChange) => {
    const entity = entities.get(`${type} ${id}`) ?? { version: 0, subStates: new Map() };
    entities.set(`${type} ${id}`, entity);
    if ((entity.subStates.get(partition)?.offset ?? 0) >= offset) return;
    entity.subStates.set(partition, { offset, bytes: Uint8Array.from(bytes) });
    entity.version++;
  };
  const store: StateStore = {
    async load(requests, owned) {
      const answers = requests.map((request) => look(request, owned));
      if (!isHolding) return answers;
      return new Promise((resolve, reject) => {
        held.push({ answer: () => resolve(answers), fail: reject, requests });
      });
    },
    flush: async (partition, changes) => {
      for (const change of changes) keep(partition, change);
    },
    fence: async () => undefined,
    discard: async (partition, { type, id }) => {
      entities.get(`${type} ${id}`)!.subStates.delete(partition);
    },
    close: async () => {},
  };
  const damage = (entity: string, partition: string) => {
    entities.get(entity)!.subStates.get(partition)!.bytes[3] ^= 255;
  };
  return { store, held, damage, hold: (on: boolean) => (isHolding = on) };
}

export function createProcess(
  store: StateStore,
  cacheEntities = 100,
  keyEntity?: string,
  set = undelayed,
  toleranceMs = minute,
) {
  let now = 0;
  const lookups = { hits: 0, misses: 0 };
  /** Too late, per batch. */
  const lates: number[] = [];
  const damages: string[] = [];
  /** Of each row of the last batch: since when history is known, in minutes; NaN where that is long enough. */
  let knownFrom: number[] = [];
  const engine = createFeatureEngine({
    set,
    store,
    clock: clockAt(() => now),
    cacheEntities,
    refreshMs: 100,
    toleranceMs,
    keyEntity,
    onDamaged: (error) => damages.push(error.message),
    onLookups(hits, misses) {
      lookups.hits += hits;
      lookups.misses += misses;
    },
  });
  /** Applies and answers the named feature of every event, with its state unless that is fresh. */
  async function apply(partition: string, batch: TransactionBatch, feature: string, seenBefore?: number) {
    return applyLoaded(partition, batch, await engine.load(batch, partition), feature, seenBefore);
  }
  /** The same without the store. */
  function applyHeld(partition: string, batch: TransactionBatch, feature: string) {
    return applyLoaded(partition, batch, engine.held(batch, partition), feature);
  }
  function applyLoaded(
    partition: string,
    batch: TransactionBatch,
    loaded: Loaded,
    feature: string,
    seenBefore?: number,
  ) {
    const rows = newRows(set.names.length);
    lates.push(engine.apply(batch, loaded, partition, rows, seenBefore).late);
    knownFrom = [...rows.knownFrom.subarray(0, batch.count)].map((time) => time / minute);
    const column = set.names.indexOf(feature);
    return Array.from({ length: batch.count }, (_, row) => {
      const at = row * rows.width + column;
      const state = featureStates[rows.states[at]];
      return state === 'fresh' ? rows.values[at] : `${rows.values[at]} ${state}`;
    });
  }
  async function flush(partition: string): Promise<number> {
    const { changes, settle } = engine.takeChanges(partition, 0);
    await store.flush(partition, changes, 0);
    settle();
    return changes.length;
  }
  const tick = (ms: number) => (now += ms);
  return { engine, apply, applyHeld, flush, lookups, lates, damages, tick, knownFrom: () => knownFrom };
}
