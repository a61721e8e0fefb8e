import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { eventConfig } from '../consumers/decode/config.ts';
import { createDecoder } from '../consumers/decode/decoder.ts';
import { createSubStateWriter, decodeSubState } from '../features/codec.ts';
import type { TransactionBatch } from '../features/columns.ts';
import { featuresConfig, filtersConfig } from '../features/config.ts';
import { compileFeatures } from '../features/definition.ts';
import type { FeatureSet } from '../features/plan.ts';
import { newRows } from '../features/rows.ts';
import { seededRandom } from '../runtime/random.ts';
import { simulateEvents } from '../simulator/event-stream.ts';
import { applyAll, batchEvents, createEngine, decodeAll, decodedBatches, partition } from './features.ts';
import { measure, report } from './measure.ts';

const events = 100_000;
const seed = 1;

/** Features over other mixes of entities than the Handbook's, and what the Handbook's state takes when it is stored. */
export async function benchMixes(runs: number, only: (name: string) => boolean): Promise<void> {
  if (only('features.zipf')) await benchZipf(runs);
  if (only('features.radar') || only('features.radar-60')) await benchRadar(runs, only);
  if (only('features.hot-entity')) await benchHotEntity(runs);
  if (only('features.stored')) await benchStored(runs);
}

/** The 15 features; few customers and terminals have most of the transactions (Zipf, exponent 1). */
async function benchZipf(runs: number): Promise<void> {
  const { set } = await decodedBatches(1);
  const random = seededRandom(seed);
  const drawn = (entities: number) => String(Math.floor(entities ** random.next()));
  const batches = madeBatches(set, events, 0, () => ({ customer: drawn(50_000), terminal: drawn(10_000) }));
  await measure('features.zipf', runs, events, () => applyAll(createEngine(set), batches, newRows(set.names.length)));
}

/** A usual size: 60 velocity features over 6 entities of examples/radar. */
const sixty = [
  ...['card', 'customer', 'email', 'ip', 'device', 'network'].flatMap((entity) =>
    ['authorized', 'declined', 'charge'].map((where) => ({
      entity,
      where,
      windows: ['1h', '1d', 'all'],
      aggregates: ['count'],
    })),
  ),
  ...['customer', 'email', 'ip'].map((entity) => ({
    entity,
    where: 'charge',
    windows: ['1d', 'all'],
    aggregates: ['distinct(card_id)'],
  })),
];

/** examples/radar, whole and with 60 features, over its own simulated stream, labels and late events included. */
async function benchRadar(runs: number, only: (name: string) => boolean): Promise<void> {
  const example = parse(readFileSync(new URL('../examples/radar/weir.yaml', import.meta.url), 'utf8'));
  const event = eventConfig.parse({ ...example.event, deduplicate: false });
  const decoder = createDecoder(event, { type: 'json' });
  const compiled = (features: unknown): FeatureSet => {
    const groups = featuresConfig.parse(features);
    const filters = filtersConfig.parse(example.filters);
    return compileFeatures(groups, filters, decoder.layout, event.time.allowed_lateness_ms).set!;
  };
  const stream = simulateEvents({ seed, events, labels: true, lateShare: 0.01 });
  const lines: string[] = [];
  for (const simulated of stream.events) lines.push((stream.jsonLine as (of: unknown) => string)(simulated));
  const batches = decodeAll(decoder, lines);
  for (const [name, set] of [
    ['features.radar', compiled(example.features)],
    ['features.radar-60', compiled(sixty)],
  ] as const) {
    if (!only(name)) continue;
    await measure(name, runs, lines.length, () => applyAll(createEngine(set), batches, newRows(set.names.length)));
  }
}

/** One customer and one terminal with a million events in their windows, against many with a few. */
async function benchHotEntity(runs: number): Promise<void> {
  const { set } = await decodedBatches(1);
  const before = 1_000_000;
  for (const [name, entities] of [
    ['cold', 100_000],
    ['hot', 1],
  ] as const) {
    const entity = (index: number) => ({ customer: String(index % entities), terminal: String(index % entities) });
    const engine = createEngine(set);
    const rows = newRows(set.names.length);
    for (let first = 0; first < before; first += events)
      await applyAll(engine, madeBatches(set, events, first, entity), rows);
    const parts = Array.from({ length: runs + 1 }, (_, run) => madeBatches(set, events, before + run * events, entity));
    await measure(`features.hot-entity.${name}`, runs, events, () => applyAll(engine, parts.shift()!, rows));
  }
}

/** Bytes of a retained event of the real data, and the codec's time for one. */
async function benchStored(runs: number): Promise<void> {
  const { set, batches } = await decodedBatches(400_000);
  const engine = createEngine(set);
  const rows = newRows(set.names.length);
  for (const batch of batches) engine.apply(batch, await engine.load(batch, partition), partition, rows);
  const changes = engine
    .takeChanges(partition, 0)
    .changes.filter(({ type }) => set.entities.some((plan) => plan.type === type));
  const planOf = (type: string) => set.entities.find((plan) => plan.type === type)!;
  const decode = () => changes.map(({ type, bytes, offset }) => decodeSubState(bytes, planOf(type), partition, offset));
  const states = decode();
  const retained = states.reduce((sum, { last, head }) => sum + last - head, 0);
  const bytes = changes.reduce((sum, change) => sum + change.bytes.length, 0);
  report('features.stored.bytes', 'bytes/retained event', [bytes / retained]);
  await measure('features.stored.decode', runs, retained, decode);
  await measure('features.stored.encode', runs, retained, () => {
    const writer = createSubStateWriter();
    for (const [index, state] of states.entries()) writer.encode(state, planOf(changes[index].type));
  });
}

/** Transactions every two seconds, laid out as the Handbook job's. */
function madeBatches(
  set: FeatureSet,
  count: number,
  first: number,
  entityOf: (index: number) => { readonly customer: string; readonly terminal: string },
): TransactionBatch[] {
  return Array.from({ length: count / batchEvents }, (_, part) => {
    const indexes = Array.from({ length: batchEvents }, (_, row) => first + part * batchEvents + row);
    const entities = indexes.map(entityOf);
    const column = (value: (index: number) => number) => Float64Array.from(indexes, value);
    return {
      count: batchEvents,
      ids: indexes.map(String),
      times: column((index) => Date.UTC(2026, 0, 1) + index * 2_000),
      kinds: indexes.map(() => 'authorization'),
      unscored: new Uint8Array(batchEvents),
      refersTo: indexes.map(() => ''),
      offsets: column((index) => index),
      rawIndexes: Int32Array.from(indexes, (_, row) => row),
      numbers: set.layout.fields.map(({ type }) =>
        column((index) => (type === 'flag' ? Number(index % 97 === 0) : index % 9973)),
      ),
      texts: set.layout.fields.map(() => []),
      entityIds: set.layout.entities.map(({ name }) =>
        entities.map((entity) => (name === 'customer' ? entity.customer : entity.terminal)),
      ),
      sources: entities.map(({ customer }) => customer),
    };
  });
}
