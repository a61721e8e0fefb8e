import { expect } from '@jest/globals';
import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import type { FeaturesConfig, FiltersConfig } from '../../features/config.ts';
import { compileFeatures } from '../../features/definition.ts';
import { createFeatureEngine } from '../../features/engine.ts';
import type { FeatureSet } from '../../features/plan.ts';
import { type FeatureState, featureStates, newRows } from '../../features/rows.ts';
import type { StateStore } from '../../features/store.ts';
import { clockAt } from './clock.ts';

/** One event of a log under test; what is left out is missing. */
export interface LogEvent {
  readonly id?: string;
  readonly time: number;
  readonly kind?: string;
  readonly refersTo?: string;
  /** Minor units. */
  readonly amount?: number;
  readonly tip?: number;
  readonly fraud?: boolean;
  readonly device?: string;
  /** Degrees. */
  readonly place?: readonly [latitude: number, longitude: number];
  readonly card?: string;
  readonly partition?: number;
  /** Afterwards all is stored, forgotten and loaded again. */
  readonly reload?: boolean;
}

export interface Evaluated {
  readonly value: number;
  readonly state: FeatureState;
  readonly bounds: readonly [number, number] | undefined;
}

export interface RunOptions {
  readonly filters?: FiltersConfig;
  readonly allowedLatenessMs?: number;
  readonly exactEvents?: number;
  readonly idleMs?: number;
  readonly deduplication?: EventLayout['deduplication'];
}

/** A log whose events come in gaps behind (or before) the newest so far. @param unitMs of the gaps. */
export function timeline(
  raw: readonly (Omit<LogEvent, 'time'> & { readonly gap: number })[],
  unitMs: number,
): LogEvent[] {
  let newest = 1_700_000_000_000;
  return raw.map(({ gap, ...event }) => {
    const time = newest + gap * unitMs;
    newest = Math.max(newest, time);
    return { ...event, time };
  });
}

export function layoutFor({ exactEvents, idleMs, deduplication }: RunOptions): EventLayout {
  return {
    fields: [
      { name: 'amount', type: 'money', scale: 2, optional: false },
      { name: 'tip', type: 'money', scale: 2, optional: true },
      { name: 'fraud', type: 'flag', scale: 0, optional: false },
      { name: 'device', type: 'text', scale: 0, optional: true },
      { name: 'latitude', type: 'number', scale: 5, optional: true },
      { name: 'longitude', type: 'number', scale: 5, optional: true },
    ],
    entities: [{ name: 'card', exactEvents, idleMs }],
    kinds: ['authorization', 'chargeback', 'refund'],
    deduplication,
  };
}

export function compileFor(groups: FeaturesConfig, options: RunOptions = {}): FeatureSet {
  const layout = layoutFor(options);
  const { set, faults } = compileFeatures(groups, options.filters ?? {}, layout, options.allowedLatenessMs ?? 0);
  expect(faults).toEqual([]);
  return set!;
}

export function batchOf(events: readonly LogEvent[], firstOffset = 0): TransactionBatch {
  const scaled = (of: (event: LogEvent) => number | undefined) =>
    Float64Array.from(events, (event) => of(event) ?? Number.NaN);
  return {
    count: events.length,
    ids: events.map((event, row) => event.id ?? `t${firstOffset + row}`),
    times: Float64Array.from(events, ({ time }) => time),
    kinds: events.map(({ kind = 'authorization' }) => kind),
    unscored: new Uint8Array(events.length),
    refersTo: events.map(({ refersTo = '' }) => refersTo),
    offsets: Float64Array.from(events, (_, row) => firstOffset + row),
    rawIndexes: Int32Array.from(events, (_, row) => row),
    numbers: [
      scaled(({ amount = 0 }) => amount),
      scaled(({ tip }) => tip),
      scaled(({ fraud }) => (fraud ? 1 : 0)),
      new Float64Array(0),
      scaled(({ place }) => place && Math.round(place[0] * 1e5)),
      scaled(({ place }) => place && Math.round(place[1] * 1e5)),
    ],
    texts: [[], [], [], events.map(({ device = '' }) => device), [], []],
    entityIds: [events.map(({ card = 'c' }) => card)],
    sources: events.map(({ card = 'c' }) => card),
  };
}

/** Keeps the last stored sub-states in memory. */
export function memoryStore(): StateStore & { readonly bytes: () => number } {
  const kept = new Map<string, Map<string, { offset: number; bytes: Uint8Array }>>();
  return {
    load: async (requests) =>
      requests.map(({ type, id }) => {
        const found = kept.get(`${type} ${id}`);
        const subStates = [...(found ?? [])].map(([partition, state]) => ({ partition, ...state }));
        return { version: found === undefined ? 0 : 1, subStates };
      }),
    async flush(partition, changes) {
      for (const { type, id, offset, bytes } of changes) {
        const states = kept.get(`${type} ${id}`) ?? new Map<string, { offset: number; bytes: Uint8Array }>();
        kept.set(`${type} ${id}`, states);
        if ((states.get(partition)?.offset ?? -1) < offset)
          states.set(partition, { offset, bytes: Uint8Array.from(bytes) });
      }
    },
    fence: async () => undefined,
    discard: async () => {},
    close: async () => {},
    bytes: () =>
      [...kept.values()].flatMap((states) => [...states.values()]).reduce((n, { bytes }) => n + bytes.length, 0),
  };
}

/** The engine over a store in memory, one event at a time, all partitions owned. */
export function createRun(set: FeatureSet, partitions = 3, store = memoryStore()) {
  const engine = createFeatureEngine({
    set,
    store,
    clock: clockAt(() => 0),
    cacheEntities: 1000,
    refreshMs: 1000,
    toleranceMs: 60_000,
    keyEntity: undefined,
    onLookups: () => {},
    onDamaged: () => {},
  });
  const names = Array.from({ length: partitions }, (_, partition) => `log:${partition}`);
  for (const name of names) engine.gain(name, partitions);
  const offsets = names.map(() => 0);
  const rows = newRows(set.names.length);

  async function reload(): Promise<void> {
    for (const [partition, name] of names.entries()) {
      const { changes, settle } = engine.takeChanges(name, offsets[partition]);
      await store.flush(name, changes, offsets[partition]);
      settle();
      engine.lose(name);
    }
    for (const name of names) engine.gain(name, partitions);
  }

  return {
    engine,
    store,
    reload,
    /** Features by name; undefined for a repetition. */
    async apply(event: LogEvent): Promise<ReadonlyMap<string, Evaluated> | undefined> {
      const partition = (event.partition ?? 0) % partitions;
      const batch = batchOf([event], offsets[partition]++);
      const { repeats } = engine.apply(batch, await engine.load(batch, names[partition]), names[partition], rows);
      const features = new Map(
        set.names.map((name, column) => [
          name,
          { value: rows.values[column], state: featureStates[rows.states[column]], bounds: rows.bounds.get(column) },
        ]),
      );
      if (event.reload === true) await reload();
      return repeats > 0 ? undefined : features;
    },
  };
}
