import { describe, expect, it } from '@jest/globals';
import { filterPredicate } from '../../features/predicate.ts';
import { layout, madeBatch } from '../support/scoring.ts';

/** Whether an event of 500.00, with the fraud flag set, without outcome and age, passes. */
function passes(filter: string): boolean {
  const batch = madeBatch(1);
  batch.numbers[0][0] = 50_000;
  batch.numbers[1][0] = 1;
  batch.numbers[3][0] = Number.NaN;
  batch.texts[2][0] = '';
  const out = new Uint8Array(1);
  filterPredicate(layout, filter).fill(batch, out);
  return out[0] === 1;
}

describe('a filter', () => {
  it.each(['fraud', 'fraud == 1', 'fraud and amount > 100', 'not exists(age)', 'age > 5 or amount == 500'])(
    'passes by %s',
    (filter) => expect(passes(filter)).toBe(true),
  );

  it.each(['not fraud', 'age > 5', 'age != 5', 'not (age > 5)', 'outcome != "declined"', 'outcome not in ("a", "b")'])(
    'does not pass by %s',
    (filter) => expect(passes(filter)).toBe(false),
  );

  it.each(['amount', 'kind', 'outcome > 5', 'amount == "x"', 'kind == "a" and outcome + 1 > 3'])(
    'is refused as %s, which could never be true',
    (filter) => expect(() => filterPredicate(layout, filter)).toThrow(/does not fit|not a condition/),
  );
});
