import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { eventConfig } from '../consumers/decode/config.ts';
import { createDecoder, type Decoder } from '../consumers/decode/decoder.ts';
import type { TransactionBatch } from '../features/columns.ts';
import { featuresConfig } from '../features/config.ts';
import { compileFeatures } from '../features/definition.ts';
import { createFeatureEngine, type FeatureEngine } from '../features/engine.ts';
import type { FeatureSet } from '../features/plan.ts';
import { type FeatureRows, newRows } from '../features/rows.ts';
import type { StateStore } from '../features/store.ts';
import { systemClock } from '../runtime/clock.ts';
import { handbookHeader, readHandbook } from '../test/support/handbook.ts';
import { benchMixes } from './feature-mixes.ts';
import { measure } from './measure.ts';

const events = 100_000;
export const batchEvents = 1_000;
/** Until the longest windows, 30 days and 7 + 30, are full. */
const warmUpEvents = 400_000;
export const partition = 'bench:0';

/**
 * The 15 features of the Handbook job, all state in memory: applied and evaluated, loading from memory included, decoding and storing
 * not. From empty windows, and with windows that are full already.
 */
export async function benchFeatures(runs: number, only: (name: string) => boolean): Promise<void> {
  if (only('features.from-empty')) {
    const { set, batches } = await decodedBatches(events);
    await measure('features.from-empty', runs, events, () =>
      applyAll(createEngine(set), batches, newRows(set.names.length)),
    );
  }
  if (only('features.with-repeats')) {
    const { set, batches } = await decodedBatches(events, true);
    await measure('features.with-repeats', runs, events, () =>
      applyAll(createEngine(set), batches, newRows(set.names.length)),
    );
  }
  if (only('features.full-windows')) {
    const { set, batches } = await decodedBatches(warmUpEvents + events * (runs + 1));
    const engine = createEngine(set);
    const rows = newRows(set.names.length);
    const next = (count: number) => applyAll(engine, batches.splice(0, count / batchEvents), rows);
    await next(warmUpEvents);
    await measure('features.full-windows', runs, events, () => next(events));
  }
  await benchMixes(runs, only);
}

export async function applyAll(
  engine: FeatureEngine,
  batches: readonly TransactionBatch[],
  rows: FeatureRows,
): Promise<void> {
  for (const batch of batches) engine.apply(batch, await engine.load(batch, partition), partition, rows);
  engine.takeChanges(partition, 0).settle();
}

export function createEngine(set: FeatureSet): FeatureEngine {
  const engine = createFeatureEngine({
    set,
    store: emptyStore,
    clock: systemClock,
    cacheEntities: 1_000_000,
    refreshMs: 1_000,
    toleranceMs: 60_000,
    keyEntity: 'customer',
    onLookups: () => {},
    onDamaged: () => {},
  });
  engine.gain(partition, 1);
  return engine;
}

/** The first transactions as examples/handbook/weir.yaml maps them. @param deduplicates looks for repeated ids as well. */
export async function decodedBatches(
  count: number,
  deduplicates = false,
): Promise<{ set: FeatureSet; batches: TransactionBatch[] }> {
  const example = parse(readFileSync(new URL('../examples/handbook/weir.yaml', import.meta.url), 'utf8'));
  const event = eventConfig.parse({ ...example.event, ...(deduplicates ? {} : { deduplicate: false }) });
  const decoder = createDecoder(event, { type: 'csv', columns: handbookHeader.split(','), delimiter: ',' });
  const { allowed_lateness_ms } = event.time;
  const { set } = compileFeatures(featuresConfig.parse(example.features), {}, decoder.layout, allowed_lateness_ms);
  const rows = await readHandbook(count);
  const batches = decodeAll(
    decoder,
    rows.map(({ line }) => line),
  );
  return { set: set!, batches };
}

export function decodeAll(decoder: Decoder, lines: readonly string[]): TransactionBatch[] {
  const batches: TransactionBatch[] = [];
  for (let first = 0; first < lines.length; first += batchEvents) {
    const part = lines.slice(first, first + batchEvents);
    const raw = {
      values: part.map((line) => Buffer.from(line)),
      keys: part.map(() => null),
      offsets: part.map((_, index) => first + index),
      timestamps: part.map(() => Number.NaN),
      next: first + part.length,
      end: lines.length,
    };
    batches.push(decoder.decode(raw, { stream: 'bench', partition: 0 }).batch);
  }
  return batches;
}

/** Knows nothing and keeps nothing: what the features cost without a store. */
const emptyStore: StateStore = {
  load: async (requests) => requests.map(() => ({ version: 0, subStates: [] })),
  flush: async () => {},
  fence: async () => undefined,
  discard: async () => {},
  close: async () => {},
};
