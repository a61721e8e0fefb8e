import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createSubStateWriter, decodeSubState } from '../../features/codec.ts';
import type { EventLayout } from '../../features/columns.ts';
import { compileFeatures } from '../../features/definition.ts';
import { applyLabel, emptySubState, insertEvent } from '../../features/sub-state.ts';
import { compileFor } from '../support/feature-run.ts';

const layout: EventLayout = {
  fields: [
    { name: 'amount', type: 'money', scale: 2, optional: false },
    { name: 'fraud', type: 'flag', scale: 0, optional: false },
    { name: 'device', type: 'text', scale: 0, optional: true },
  ],
  entities: [{ name: 'card' }],
};
const { set } = compileFeatures(
  [
    {
      entity: 'card',
      windows: ['1h', '1d'],
      aggregates: ['count', 'stddev(amount)', 'ratio(fraud)', 'is-new(device)'],
      current: 'include',
    },
  ],
  {},
  layout,
  0,
);
const plan = set!.entities[0];

function sample(events: readonly { time: number; mask: number; amount: number; hash: number }[]) {
  const state = emptySubState(plan, 'transactions:3');
  for (const { time, mask, amount, hash } of events)
    insertEvent(state, plan, time, Float64Array.of(mask, amount, hash));
  state.offset = 77;
  return state;
}

const events = [
  { time: 1_700_000_000_000, mask: 0, amount: 5716, hash: 1 },
  { time: 1_700_000_000_000, mask: 1, amount: 0, hash: 2 ** 48 - 1 },
  { time: 1_700_000_030_500, mask: 1, amount: 10 ** 12, hash: 0 },
  { time: 1_700_002_000_001, mask: 0, amount: 146, hash: 123_456_789_012 },
];

/** What every later decoder must still read: made once by version 1 from `events`. */
const goldenFile = new URL('../golden/sub-state-v1.hex', import.meta.url);

/** Of version 2, of everything that is stored. */
const goldenFile2 = new URL('../golden/sub-state-v2.hex', import.meta.url);
const busyPlan = compileFor(
  [
    {
      entity: 'card',
      windows: ['10s', '1m', 'all'],
      aggregates: ['count', 'stddev(amount)', 'max(amount)', 'distinct(device)'],
    },
    { entity: 'card', windows: ['1m'], labels: 'at-transaction', aggregates: ['ratio(chargeback)'] },
  ],
  { exactEvents: 4 },
).entities[0];

/** Forty events of a few seconds each, some of one second; a label of an event, and one that waits. */
function busySample() {
  const state = emptySubState(busyPlan, 'transactions:3');
  for (let n = 0; n < 40; n++) {
    const facts = [1, (n * 977) % 5000, 1000 + (n % 6), 2 ** 40 + n];
    insertEvent(state, busyPlan, 1_700_000_000_000 + n * 2_000 + (n % 3) * 700, Float64Array.from(facts));
  }
  const [{ bit }] = busyPlan.labels;
  applyLabel(state, busyPlan, 2 ** 40 + 39, bit, 1_700_000_090_000);
  applyLabel(state, busyPlan, 2 ** 40 + 77, bit, 1_700_000_091_000);
  state.offset = 40;
  return state;
}

describe('sub-state codec', () => {
  it('gives back what went in, to the last bit', () => {
    const arbitrary = fc.record({
      time: fc.integer({ min: 0, max: 2 ** 43 }),
      mask: fc.integer({ min: 0, max: 1 }),
      amount: fc.integer({ min: -(2 ** 49), max: 2 ** 49 }),
      hash: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    });
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 50, size: 'max' }), (list) => {
        const state = sample(list);
        const bytes = createSubStateWriter().encode(state, plan);
        const read = decodeSubState(bytes, plan, 'transactions:3', 77);
        expect(Buffer.from(createSubStateWriter().encode(read, plan))).toEqual(Buffer.from(bytes));
        expect(read.last).toBe(state.last - state.head);
        for (let row = 1; row <= read.last; row++) {
          for (let k = 0; k < 4; k++)
            expect(read.rows[row * plan.stride + k]).toBe(state.rows[(state.head + row) * plan.stride + k]);
        }
      }),
    );
  });

  it('still reads what version 1 wrote', () => {
    const bytes = Buffer.from(readFileSync(goldenFile, 'utf8').trim(), 'hex');
    expect(decodeSubState(bytes, plan, 'transactions:3', 77)).toEqual({ ...sample(events) });
  });

  it('still reads what version 2 wrote of panes, totals, and labels that wait', () => {
    const bytes = Buffer.from(readFileSync(goldenFile2, 'utf8').trim(), 'hex');
    const read = decodeSubState(bytes, busyPlan, 'transactions:3', 40);
    const made = busySample();
    expect([read.panes.length, read.pending.length, read.last - read.head]).toEqual([
      made.panes.length,
      made.pending.length,
      made.last - made.head,
    ]);
    expect(Buffer.from(createSubStateWriter().encode(read, busyPlan)).toString('hex')).toBe(bytes.toString('hex'));
    expect(Buffer.from(createSubStateWriter().encode(made, busyPlan)).toString('hex')).toBe(bytes.toString('hex'));
  });

  it('drops panes that were folded for other features, and nothing else', () => {
    const bytes = createSubStateWriter().encode(busySample(), busyPlan);
    const other = { ...busyPlan, foldedLayout: busyPlan.foldedLayout ^ 1 };
    const read = decodeSubState(bytes, other, 'transactions:3', 40);
    const made = busySample();
    expect(read.panes).toEqual([]);
    expect(read.last - read.head).toBe(made.last - made.head - made.panes.length);
    // Windows that reach behind the newest folded event are incomplete.
    expect(read.rows[0]).toBe(made.rows[(made.head + made.panes.length) * busyPlan.stride]);
    expect(read.pending).toEqual(made.pending);
  });

  it('finds out every altered byte and every truncation', () => {
    const bytes = createSubStateWriter().encode(sample(events), plan);
    for (let at = 0; at < bytes.length; at++) {
      const altered = Uint8Array.from(bytes);
      altered[at] ^= 0x10;
      expect(() => decodeSubState(altered, plan, 'transactions:3', 77)).toThrow(/damaged/);
      expect(() => decodeSubState(bytes.slice(0, at), plan, 'transactions:3', 77)).toThrow(/damaged/);
    }
  });
});
