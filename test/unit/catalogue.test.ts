import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { catalogue } from '../../features/aggregates/catalogue.ts';
import { compileFor, createRun, type LogEvent, timeline } from '../support/feature-run.ts';

/**
 * Every aggregate against its definition, said in the plainest way over the list of the window's events: random logs of three
 * partitions with ties, late events, missing values and states that are stored and loaded again.
 */
/** NaN: no data. */
type Definition = (events: readonly LogEvent[], current: LogEvent, widthMs: number) => number;

const amounts = (events: readonly LogEvent[]) => events.map(({ amount }) => amount!);
const total = (values: readonly number[]) => Number(values.reduce((sum, value) => sum + BigInt(value), 0n));
const devices = (events: readonly LogEvent[]) => events.map(({ device }) => device!).filter((device) => device !== '');
const frauds = (events: readonly LogEvent[]) => events.filter(({ fraud }) => fraud);
const tallies = (values: readonly string[]) => values.map((value) => values.filter((other) => other === value).length);
const times = (events: readonly LogEvent[]) => events.map(({ time }) => time);
const atTime = (events: readonly LogEvent[], time: number) => amounts(events.filter((event) => event.time === time));
const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviationOf = (values: readonly number[]) =>
  Math.sqrt(meanOf(values.map((value) => (value - meanOf(values)) ** 2)));

function haversine([a, b]: readonly [number, number], [c, d]: readonly [number, number]): number {
  const rad = Math.PI / 180;
  const half =
    Math.sin(((c - a) * rad) / 2) ** 2 + Math.cos(a * rad) * Math.cos(c * rad) * Math.sin(((d - b) * rad) / 2) ** 2;
  return 2 * 6371.0088 * Math.asin(Math.sqrt(half));
}

const definitions: Record<string, Definition> = {
  count: (events) => events.length,
  'sum(amount)': (events) => total(amounts(events)) / 100,
  'mean(amount)': (events) => (events.length === 0 ? Number.NaN : total(amounts(events)) / (events.length * 100)),
  'mean(tip)': (events) => {
    const tips = events.map(({ tip }) => tip).filter((tip) => tip !== undefined);
    return tips.length === 0 ? Number.NaN : total(tips) / (tips.length * 100);
  },
  'min(amount)': (events) => (events.length === 0 ? Number.NaN : Math.min(...amounts(events)) / 100),
  'max(amount)': (events) => (events.length === 0 ? Number.NaN : Math.max(...amounts(events)) / 100),
  'stddev(amount)': (events) => (events.length === 0 ? Number.NaN : deviationOf(amounts(events)) / 100),
  'distinct(device)': (events) => new Set(devices(events)).size,
  'distinct(amount)': (events) => new Set(amounts(events)).size,
  'top-share(device)': (events) =>
    Math.max(...tallies(devices(events)), Number.NEGATIVE_INFINITY) / devices(events).length,
  'first(amount)': (events) =>
    events.length === 0 ? Number.NaN : Math.max(...atTime(events, Math.min(...times(events)))) / 100,
  'last(amount)': (events) =>
    events.length === 0 ? Number.NaN : Math.max(...atTime(events, Math.max(...times(events)))) / 100,
  'time-since-first': (events, { time }) =>
    events.length === 0 ? Number.NaN : (time - Math.min(...times(events))) / 1000,
  'time-since-last': (events, { time }) =>
    events.length === 0 ? Number.NaN : (time - Math.max(...times(events))) / 1000,
  'is-new(device)': (events, { device }) => (device === '' ? Number.NaN : devices(events).includes(device!) ? 0 : 1),
  'same-count(device)': (events, { device }) =>
    device === '' ? Number.NaN : devices(events).filter((other) => other === device).length,
  'same-count(amount)': (events, { amount }) => events.filter((event) => event.amount === amount).length,
  'same-count(tip)': (events, { tip }) =>
    tip === undefined ? Number.NaN : events.filter((event) => event.tip === tip).length,
  'ratio(fraud)': (events) => frauds(events).length / events.length,
  'ratio(fraud, big)': (events) => frauds(events).length / events.filter(({ amount }) => amount! >= 500).length,
  'sum-ratio(amount, fraud)': (events) => total(amounts(frauds(events))) / total(amounts(events)),
  'z-score(amount)': (events, { amount }) => (amount! - meanOf(amounts(events))) / deviationOf(amounts(events)),
  'speed(latitude, longitude)': (events, { place, time }) => {
    const placed = events.filter((event) => event.place !== undefined);
    if (place === undefined || placed.length === 0) return Number.NaN;
    const newest = Math.max(...times(placed));
    const from = placed.filter((event) => event.time === newest).map((event) => event.place!);
    const [last] = from.sort((a, b) => b[0] - a[0] || b[1] - a[1]);
    return haversine(last, place) / (Math.max(1000, time - newest) / 3_600_000);
  },
  'hour-deviation': (events, { time }) => {
    const angle = (at: number) => ((Math.floor(at / 60_000) % 1440) * 2 * Math.PI) / 1440;
    const x = events.reduce((sum, event) => sum + Math.cos(angle(event.time)), 0);
    const y = events.reduce((sum, event) => sum + Math.sin(angle(event.time)), 0);
    const length = Math.min(0.999, Math.hypot(x, y) / events.length);
    const kappa = 1 / (length ** 3 - 4 * length ** 2 + 3 * length); // all within minutes: length > 0.85
    return events.length < 2 ? Number.NaN : 1 - Math.exp(kappa * (Math.cos(angle(time) - Math.atan2(y, x)) - 1));
  },
  'streak(fraud)': (events) => {
    const broken = Math.max(Number.NEGATIVE_INFINITY, ...times(events.filter(({ fraud }) => !fraud)));
    return frauds(events).filter(({ time }) => time > broken).length;
  },
};

/** Values that come from roots and angles: equal but for the last digits. */
const rounded = new Set(['stddev', 'z-score', 'speed', 'hour-deviation']);
const tolerance = { stddev: 1e-9, 'z-score': 1e-6, speed: 1e-6, 'hour-deviation': 1e-4 } as Record<string, number>;

const windows = { '10s': 10_000, '1m': 60_000, all: Number.POSITIVE_INFINITY };
const variants = [
  { current: 'include' as const },
  { current: 'exclude' as const },
  { current: 'include' as const, delay: '5s' },
  { current: 'include' as const, where: 'big' },
];

const eventArbitrary = fc.record({
  gap: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 12 }) },
    { weight: 1, arbitrary: fc.integer({ min: -40, max: -1 }) },
  ),
  amount: fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constantFrom(1, 500), fc.integer({ min: 1, max: 10 ** 12 })),
  tip: fc.oneof(fc.constant(undefined), fc.integer({ min: 0, max: 5 })),
  fraud: fc.boolean(),
  device: fc.constantFrom('', 'a', 'b', 'größer 💳'),
  place: fc.oneof(
    fc.constant(undefined),
    fc.tuple(fc.integer({ min: -90, max: 90 }), fc.integer({ min: -180, max: 180 })),
  ),
  partition: fc.nat({ max: 2 }),
  reload: fc.boolean(),
});

/** Gaps in units of it make times fall on window edges and tie. */
const halfSecond = 500;

const filters = { big: 'amount >= 5' };

function inWindow(log: readonly LogEvent[], { time }: LogEvent, widthMs: number, delayMs: number): LogEvent[] {
  return log.filter((event) => event.time > time - delayMs - widthMs && event.time <= time - delayMs);
}

describe.each(Object.entries(definitions))('%s', (text, definition) => {
  const aggregate = catalogue.find(({ name }) => name === text.split('(')[0])!;
  it.each(variants)('equals its definition: %j', async (variant) => {
    const set = compileFor([{ entity: 'card', windows: Object.keys(windows), aggregates: [text], ...variant }], {
      filters,
      allowedLatenessMs: 60_000,
    });
    const property = fc.asyncProperty(
      fc.array(eventArbitrary, { minLength: 1, maxLength: 60, size: 'max' }),
      async (raw) => {
        const run = createRun(set);
        const log: LogEvent[] = [];
        for (const event of timeline(raw, halfSecond)) {
          const features = (await run.apply(event))!;
          log.push(event);
          const counted = variant.where === undefined ? log : log.filter(({ amount }) => amount! >= 500);
          const skips = (variant.current === 'exclude' || aggregate.excludesCurrent) && variant.delay === undefined;
          for (const [index, widthMs] of Object.values(windows).entries()) {
            const seen = skips ? counted.filter((other) => other !== event) : counted;
            const wanted = definition(inWindow(seen, event, widthMs, variant.delay ? 5000 : 0), event, widthMs);
            check(features.get(set.names[index])!, wanted, widthMs, `${set.names[index]} at event ${log.length - 1}`);
          }
        }
      },
    );
    await fc.assert(property, { numRuns: 15 });
  });

  function check(got: { value: number; state: string }, wanted: number, widthMs: number, where: string): void {
    const isNone = !Number.isFinite(wanted);
    const noData = aggregate.name === 'time-since-last' && Number.isFinite(widthMs) ? widthMs / 1000 : 0;
    const close = (a: number, b: number) =>
      rounded.has(aggregate.name)
        ? Math.abs(a - b) <= tolerance[aggregate.name] * Math.max(1, Math.abs(b))
        : Object.is(a + 0, b + 0);
    if (got.state === (isNone ? 'absent' : 'fresh') && close(got.value, isNone ? noData : wanted)) return;
    throw new Error(`${where}: got ${got.value} (${got.state}), the definition says ${isNone ? 'no data' : wanted}`);
  }
});

describe('the catalogue', () => {
  it('has a definition here for every aggregate', () => {
    const here = new Set(Object.keys(definitions).map((text) => text.split('(')[0]));
    expect(catalogue.map(({ name }) => name).filter((name) => !here.has(name))).toEqual(['burst']);
  });

  it('burst(1m) is the rate of the window over the rate of the minute', async () => {
    const set = compileFor([{ entity: 'card', windows: ['10s'], aggregates: ['burst(1m)'], current: 'include' }], {
      allowedLatenessMs: 60_000,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(eventArbitrary, { minLength: 1, maxLength: 60, size: 'max' }), async (raw) => {
        const run = createRun(set);
        const log: LogEvent[] = [];
        for (const event of timeline(raw, halfSecond)) {
          log.push(event);
          const { value } = (await run.apply(event))!.get('card.burst.1m.10s')!;
          const rate = (widthMs: number) => inWindow(log, event, widthMs, 0).length / widthMs;
          expect(value).toBeCloseTo(rate(10_000) / rate(60_000), 10);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('gives an example that compiles for each', () => {
    const filter = (text: string) => text.replace('merchant', 'device').replaceAll(/declined|approved/g, 'fraud');
    for (const { example } of catalogue) {
      const set = compileFor([{ entity: 'card', windows: ['1d'], aggregates: [filter(example)], current: 'include' }]);
      expect(set.names).toHaveLength(1);
    }
  });
});
