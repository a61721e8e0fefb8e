import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { eventConfig } from '../consumers/decode/config.ts';
import { createDecoder } from '../consumers/decode/decoder.ts';
import type { TransactionBatch } from '../features/columns.ts';
import { featuresConfig } from '../features/config.ts';
import { compileFeatures } from '../features/definition.ts';
import { createFeatureEngine } from '../features/engine.ts';
import { newRows } from '../features/rows.ts';
import type { StateStore } from '../features/store.ts';
import { systemClock } from '../runtime/clock.ts';
import { handbookHeader, readHandbook } from '../test/support/handbook.ts';
import { measure } from './measure.ts';

const events = 100_000;
const batchEvents = 1_000;
const partition = 'bench:0';

/** The 15 features of the Handbook job on its first transactions, all state in memory; decoding is not counted. */
export async function benchFeatures(runs: number, only: (name: string) => boolean): Promise<void> {
  if (!only('features.apply-evaluate')) return;
  const example = parse(readFileSync(new URL('../examples/handbook/weir.yaml', import.meta.url), 'utf8'));
  const event = eventConfig.parse(example.event);
  const { layout, batches } = await decodedBatches(event);
  const { set } = compileFeatures(featuresConfig.parse(example.features), {}, layout, event.time.allowed_lateness_ms);
  await measure('features.apply-evaluate', runs, events, async () => {
    const engine = createFeatureEngine({
      set: set!,
      store: emptyStore,
      clock: systemClock,
      cacheEntities: 1_000_000,
      refreshMs: 1_000,
      keyEntity: event.key,
      onLookups: () => {},
    });
    engine.gain(partition, 1);
    const rows = newRows(set!.names.length);
    for (const batch of batches) {
      engine.apply(batch, await engine.load(batch), partition, rows);
      engine.takeChanges(partition).settle();
    }
  });
}

async function decodedBatches(event: ReturnType<typeof eventConfig.parse>) {
  const format = { type: 'csv', columns: handbookHeader.split(','), delimiter: ',' } as const;
  const decoder = createDecoder(event, format);
  const rows = await readHandbook(events);
  const batches: TransactionBatch[] = [];
  for (let first = 0; first < rows.length; first += batchEvents) {
    const part = rows.slice(first, first + batchEvents);
    const raw = {
      values: part.map(({ line }) => Buffer.from(line)),
      keys: part.map(() => null),
      offsets: part.map((_, index) => first + index),
      timestamps: part.map(() => Number.NaN),
      next: first + part.length,
      end: rows.length,
    };
    batches.push(decoder.decode(raw, { stream: 'bench', partition: 0 }).batch);
  }
  return { layout: decoder.layout, batches };
}

/** Knows nothing and keeps nothing: what the features cost without a store. */
const emptyStore: StateStore = {
  load: async (requests) => requests.map(() => ({ version: 0, subStates: [] })),
  flush: async () => {},
  fence: async () => undefined,
  close: async () => {},
};
