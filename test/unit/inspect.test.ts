import { describe, expect, it } from '@jest/globals';
import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import { featuresConfig } from '../../features/config.ts';
import { compileFeatures } from '../../features/definition.ts';
import { createFeatureEngine } from '../../features/engine.ts';
import { type EntityView, viewEntity } from '../../features/inspect.ts';
import { newRows } from '../../features/rows.ts';
import type { InspectedSubState } from '../../features/store-reader.ts';
import { clockAt } from '../support/clock.ts';

const layout: EventLayout = {
  fields: [
    { name: 'amount', type: 'money', scale: 2, optional: false },
    { name: 'fraud', type: 'flag', scale: 0, optional: false },
    { name: 'device', type: 'text', scale: 0, optional: true },
  ],
  entities: [{ name: 'card' }],
};
const groups = featuresConfig.parse([
  { entity: 'card', windows: ['10m', '1h'], aggregates: ['count', 'sum(amount)', 'ratio(fraud)'] },
  { entity: 'card', windows: ['1h'], aggregates: ['count'], current: 'exclude' },
  { entity: 'card', windows: ['1h'], aggregates: ['time-since-last', 'is-new(device)'] },
]);
const { set } = compileFeatures(groups, {}, layout, 0);
const busyGroups = featuresConfig.parse([
  { entity: 'card', windows: ['1d'], aggregates: ['count', 'sum(amount)', 'same-count(amount)', 'z-score(amount)'] },
  { entity: 'card', windows: ['1d'], aggregates: ['ratio(chargeback)'], labels: 'at-transaction' },
  { event: ['amount'] },
  { name: 'average', expression: 'card.sum.amount.1d / card.count.1d' },
  { name: 'surplus', expression: 'amount - average' },
  { name: 'doubled', expression: '2 * average' },
]);
const kinds = ['authorization', 'chargeback'];
const busy = compileFeatures(
  busyGroups,
  {},
  { ...layout, kinds, entities: [{ name: 'card', exactEvents: 64 }] },
  0,
).set;
const minute = 60_000;

/** Event n: at minute n, of n major units, every fifth fraud, every third from device d. */
function batchOf(numbers: readonly number[]): TransactionBatch {
  return {
    count: numbers.length,
    ids: numbers.map(String),
    times: Float64Array.from(numbers, (n) => n * minute),
    kinds: numbers.map(() => 'authorization'),
    unscored: new Uint8Array(numbers.length),
    refersTo: numbers.map(() => ''),
    offsets: Float64Array.from(numbers),
    rawIndexes: Int32Array.from(numbers, (_, row) => row),
    numbers: [
      Float64Array.from(numbers, (n) => n * 100),
      Float64Array.from(numbers, (n) => (n % 5 === 0 ? 1 : 0)),
      new Float64Array(0),
    ],
    texts: [[], [], numbers.map((n) => (n % 3 === 0 ? 'd' : ''))],
    entityIds: [numbers.map(() => 'c')],
    sources: [],
  };
}

/** What is stored once a partition has had these events. */
async function stored(partition: string, batch: TransactionBatch, of = set!): Promise<InspectedSubState> {
  const engine = createFeatureEngine({
    set: of,
    store: {
      load: async (requests) => requests.map(() => ({ version: 0, subStates: [] })),
      flush: async () => {},
      fence: async () => undefined,
      discard: async () => {},
      close: async () => {},
    },
    clock: clockAt(() => 0),
    cacheEntities: 10,
    refreshMs: 100,
    toleranceMs: 60_000,
    keyEntity: undefined,
    onLookups: () => {},
    onDamaged: () => {},
  });
  engine.gain(partition, 1);
  engine.apply(batch, await engine.load(batch, partition), partition, newRows(of.names.length));
  const [{ offset, bytes }] = engine.takeChanges(partition, 0).changes;
  return { partition, offset, bytes: Uint8Array.from(bytes), fence: 1000 };
}

const view = (states: readonly InspectedSubState[], at?: number): EntityView =>
  viewEntity(set!, set!.entities[0], states, at);
const values = ({ features }: EntityView) =>
  Object.fromEntries(features.map(({ name, value, state }) => [name, state === 'fresh' ? value : `${value} ${state}`]));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, k) => from + k);

describe('viewEntity', () => {
  it('evaluates windows that end at the time, without a current event', async () => {
    const state = await stored('t:0', batchOf(range(1, 30)));
    expect(values(view([state]))).toEqual({
      'card.count.10m': 10,
      'card.sum.amount.10m': 255,
      'card.ratio.fraud.10m': 0.2,
      'card.count.1h': 30,
      'card.sum.amount.1h': 465,
      'card.ratio.fraud.1h': 0.2,
      'card.count.1h.exclude-current': 30,
      'card.time-since-last.1h': 0,
      'card.is-new.device.1h': '0 absent',
    });
    expect(values(view([state], 30.5 * minute))).toMatchObject({
      'card.count.10m': 10,
      'card.time-since-last.1h': 30,
    });
    expect(values(view([state], 12 * minute))).toMatchObject({ 'card.count.10m': 10, 'card.count.1h': 12 });
    expect(values(view([state], 1000 * minute))).toMatchObject({
      'card.count.1h': 0,
      'card.ratio.fraud.1h': '0 absent',
      'card.time-since-last.1h': '3600 absent',
    });
  });

  it('merges partitions, and shows each', async () => {
    const even = await stored('t:0', batchOf(range(1, 15).map((n) => 2 * n)));
    const odd = await stored('t:1', batchOf(range(1, 14).map((n) => 2 * n - 1)));
    const whole = await stored('t:0', batchOf(range(1, 30).filter((n) => n !== 29)));
    const merged = view([even, odd]);
    expect(values(merged)).toEqual(values(view([whole])));
    expect(merged.at).toBe(30 * minute);
    expect(merged.partitions).toEqual([
      {
        ...{
          partition: 't:0',
          offset: 31,
          fence: 1000,
          events: 15,
          folded: 0,
          pendingLabels: 0,
          bytes: even.bytes.length,
        },
        ...{ oldest: 2 * minute, newest: 30 * minute, droppedThrough: undefined },
      },
      {
        ...{
          partition: 't:1',
          offset: 28,
          fence: 1000,
          events: 14,
          folded: 0,
          pendingLabels: 0,
          bytes: odd.bytes.length,
        },
        ...{ oldest: 1 * minute, newest: 27 * minute, droppedThrough: undefined },
      },
    ]);
    expect(merged.events.map(({ time, partition }) => [time / minute, partition])).toEqual([
      ...[
        [30, 't:0'],
        [28, 't:0'],
        [27, 't:1'],
        [26, 't:0'],
        [25, 't:1'],
      ],
      ...[
        [24, 't:0'],
        [23, 't:1'],
        [22, 't:0'],
        [21, 't:1'],
        [20, 't:0'],
      ],
    ]);
    expect(merged.events[0]).toMatchObject({
      facts: { amount: 30, device: expect.stringMatching(/^#[\da-f]{12}$/) },
      passes: ['fraud'],
    });
    expect(merged.events[1]).toEqual({ time: 28 * minute, partition: 't:0', facts: { amount: 28 }, passes: [] });
  });

  it('tells what was dropped, and marks windows that reach behind it', async () => {
    const state = await stored('t:0', batchOf(range(1, 100)));
    const { partitions } = view([state]);
    expect(partitions).toMatchObject([{ events: 60, oldest: 41 * minute, droppedThrough: 40 * minute }]);
    expect(values(view([state], 99 * minute))).toMatchObject({
      'card.count.10m': 10,
      'card.count.1h': '59 incomplete',
    });
  });

  it('shows what is folded, with bounds, labels that wait, and expressions over the entity alone', async () => {
    const batch = batchOf(range(1, 1000));
    batch.kinds[999] = 'chargeback';
    batch.refersTo[999] = 'nothing that came';
    const state = await stored('t:0', batch, busy);
    const { partitions, features, events } = viewEntity(busy!, busy!.entities[0], [state], 1440.5 * minute);
    expect(partitions).toMatchObject([{ events: 1000, pendingLabels: 1, oldest: minute, newest: 1000 * minute }]);
    const { folded } = partitions[0];
    expect(folded).toBeGreaterThanOrEqual(1000 - 64 - 8);
    expect(folded).toBeLessThanOrEqual(1000 - 64);
    expect(events).toHaveLength(10);
    expect(features.map(({ name }) => name)).toEqual([
      ...['card.count.1d', 'card.sum.amount.1d', 'card.same-count.amount.1d', 'card.z-score.amount.1d'],
      ...['card.ratio.chargeback.1d.at-transaction', 'average', 'doubled'],
    ]);
    const byName = Object.fromEntries(features.map((feature) => [feature.name, feature]));
    expect(byName['card.same-count.amount.1d']).toMatchObject({ value: 0, state: 'absent' });
    expect(byName['card.z-score.amount.1d']).toMatchObject({ value: 0, state: 'absent' });
    expect(byName['card.count.1d']).toEqual({ name: 'card.count.1d', value: 1000, state: 'fresh' });
    expect(byName.average).toMatchObject({ value: 500.5, state: 'fresh' });
    // The first pane is cut; the true count is 990.
    const later = viewEntity(busy!, busy!.entities[0], [state], 1450.5 * minute).features[0];
    expect(later.state).toBe('approximate');
    expect(later.bounds![0]).toBeLessThanOrEqual(990);
    expect(later.bounds![1]).toBeGreaterThanOrEqual(990);
  });

  it('refuses a damaged sub-state', async () => {
    const state = await stored('t:0', batchOf(range(1, 5)));
    state.bytes[state.bytes.length - 6] ^= 1;
    expect(() => view([state])).toThrow(/damaged/);
  });
});
