import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createSubStateWriter, decodeSubState } from '../../features/codec.ts';
import type { EventLayout } from '../../features/columns.ts';
import { compileFeatures } from '../../features/definition.ts';
import { emptySubState, insertEvent } from '../../features/sub-state.ts';

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
