import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileFor, createRun, type Evaluated, timeline } from '../support/feature-run.ts';

/** Beyond `exactEvents` the oldest events are folded: what claims to be exact is, and what does not lies within its bounds. */
const aggregates = [
  'count',
  'sum(amount)',
  'mean(amount)',
  'stddev(amount)',
  'min(amount)',
  'max(amount)',
  'first(amount)',
  'last(amount)',
  'ratio(fraud)',
  'sum-ratio(amount, fraud)',
  'distinct(device)',
  'top-share(device)',
  'is-new(device)',
  'same-count(amount)',
  'time-since-last',
  'time-since-first',
  'burst(400s)',
  'streak(fraud)',
  'hour-deviation',
  'z-score(amount)',
];
const groups = [
  { entity: 'card', windows: ['20s', '90s'], aggregates },
  {
    entity: 'card',
    windows: ['300s'],
    aggregates: aggregates.filter((text) => !text.startsWith('burst')),
    delay: '60s',
  },
  { entity: 'card', windows: ['all'], aggregates: aggregates.filter((text) => !text.startsWith('burst')) },
];
const options = { allowedLatenessMs: 30_000 };
const folded = compileFor(groups, { ...options, exactEvents: 16 });
/** The same without any fold: held against the plainest definitions in catalogue.test.ts. */
const exact = compileFor(groups, { ...options, exactEvents: 100_000 });

const gaps = {
  'at any time': fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 400 }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 9000 }) },
    { weight: 2, arbitrary: fc.constantFrom(0, 0, 500) },
    { weight: 1, arbitrary: fc.integer({ min: -25_000, max: -1 }) },
    { weight: 1, arbitrary: fc.integer({ min: -2_000, max: -1 }) },
  ),
  // So that edges of windows fall on events, also at the beginning and the end of a pane.
  'at whole half seconds': fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(0, 500, 1000) },
    { weight: 1, arbitrary: fc.integer({ min: -40, max: 10 }).map((halves) => halves * 500) },
  ),
};

const eventArbitrary = (gap: fc.Arbitrary<number>) =>
  fc.record({
    gap,
    amount: fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.integer({ min: 0, max: 10 ** 6 })),
    fraud: fc.boolean(),
    device: fc.constantFrom('', 'a', 'b', 'c', 'd'),
    partition: fc.nat({ max: 1 }),
    reload: fc.constantFrom(false, false, false, true),
  });

function disagreement(name: string, got: Evaluated, wanted: Evaluated): string | undefined {
  const text = `${name}: ${got.value} (${got.state}, ${got.bounds}), truly ${wanted.value} (${wanted.state})`;
  if (name === 'card.time-since-first.20s' && got.value > 20) return `older than its window: ${text}`;
  if (got.state === 'incomplete' || wanted.state === 'incomplete') return undefined;
  if (got.state !== 'approximate') return got.value === wanted.value && got.state === wanted.state ? undefined : text;
  if (got.bounds === undefined) return `without bounds: ${text}`;
  const [low, high] = got.bounds;
  const slack = 1e-9 * Math.max(1, Math.abs(wanted.value));
  const isWithin = (value: number) => low - slack <= value && value <= high + slack;
  return isWithin(wanted.value) && isWithin(got.value) ? undefined : `out of its bounds: ${text}`;
}

describe('panes', () => {
  it.each(Object.entries(gaps))('give exact values where they claim to, and bounds that hold: %s', async (_, gap) => {
    const seen = { approximate: 0, exact: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(eventArbitrary(gap), { minLength: 30, maxLength: 150, size: 'max' }), async (raw) => {
        const [busy, plain] = [createRun(folded, 2), createRun(exact, 2)];
        for (const [index, event] of timeline(raw, 1).entries()) {
          const [got, wanted] = [(await busy.apply(event))!, (await plain.apply({ ...event, reload: false }))!];
          for (const [name, value] of got) {
            seen[value.state === 'approximate' ? 'approximate' : 'exact']++;
            const wrong = disagreement(name, value, wanted.get(name)!);
            if (wrong !== undefined) throw new Error(`event ${index}, ${wrong}`);
          }
        }
      }),
      { numRuns: 80, endOnFailure: true },
    );
    expect(seen.approximate).toBeGreaterThan(500);
    expect(seen.exact).toBeGreaterThan(1000);
  });

  it('are folded the same whether the state stays in memory or is stored and loaded', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(eventArbitrary(gaps['at any time']), { minLength: 30, maxLength: 120, size: 'max' }),
        async (raw) => {
          const [stored, kept] = [createRun(folded, 2), createRun(folded, 2)];
          for (const event of timeline(raw, 1)) {
            const [one, other] = [
              await stored.apply({ ...event, reload: true }),
              await kept.apply({ ...event, reload: false }),
            ];
            expect([...one!]).toEqual([...other!]);
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('keep a hot entity small', async () => {
    const set = compileFor(
      [{ entity: 'card', windows: ['1h', '1d', '30d'], aggregates: ['count', 'distinct(device)'] }],
      {
        exactEvents: 256,
      },
    );
    const run = createRun(set, 1);
    let count = Number.NaN;
    for (let n = 0; n < 20_000; n++) {
      const features = await run.apply({ time: 1_700_000_000_000 + n * 60_000, device: `d${n % 50}` });
      count = features!.get('card.count.1h')!.value;
    }
    await run.reload();
    expect(count).toBe(60);
    expect(run.store.bytes()).toBeLessThan(250_000);
  });

  it('take events that come late between them in, without growing', async () => {
    const set = compileFor([{ entity: 'card', windows: ['1h', '1d'], aggregates: ['count'] }], {
      exactEvents: 64,
      allowedLatenessMs: 3_600_000,
    });
    const run = createRun(set, 1);
    const start = 1_700_000_000_000;
    for (let n = 0; n < 200; n++) await run.apply({ time: start + n * 1000 });
    await run.apply({ time: start + 2 * 3_600_000 });
    for (let n = 0; n < 80; n++) await run.apply({ time: start + 2 * 3_600_000 + n });
    for (let n = 0; n < 5000; n++) await run.apply({ time: start + 1_000_000 + n * 500 });
    await run.reload();
    expect(run.store.bytes()).toBeLessThan(20_000);
  });
});
