import { describe, expect, it } from '@jest/globals';
import { compileExpression } from '../../runtime/expression.ts';

const names = ['card.count.1h', 'terminal.ratio.fraud.7d.delay-7d', 'probability', 'outcome', 'a', 'b'];
const values: Record<string, number | string> = {
  'card.count.1h': 30,
  'terminal.ratio.fraud.7d.delay-7d': 0.6,
  probability: 0.25,
  outcome: 'approved',
  a: 7,
  b: Number.NaN,
};
const evaluate = (source: string) => compileExpression(source, names).evaluate((index) => values[names[index]]);

describe('expressions', () => {
  it.each([
    ['card.count.1h > 20', true],
    ['card.count.1h > 20 and terminal.ratio.fraud.7d.delay-7d >= 0.6', true],
    ['outcome == "approved"', true],
    ['outcome in ("declined", "approved")', true],
    ['outcome not in ("declined", "approved")', false],
    ['not (probability >= 0.2)', false],
    ['card.count.1h-a == 23', true],
    ['card.count.1h-7 == 23', true],
    ['max(a, 9)', 9],
    ['outcome == "a.b-c \\" and"', false],
    ['true', true],
  ])('evaluates %s', (source, wanted) => {
    expect(evaluate(source)).toBe(wanted);
  });

  it('is false where types do not fit or a number is missing', () => {
    expect(evaluate('outcome > 3')).toBe(false);
    expect(evaluate('b > 3')).toBe(false);
    expect(evaluate('b + 1')).toBe(false);
  });

  it.each([
    ['card.cuont.1h > 20', /unknown name card\.cuont\.1h at column 1.*did you mean card\.count\.1h\?/],
    ['a > 1 and proability > 2', /unknown name proability at column 11.*did you mean probability\?/],
    ['a >', /cannot be read/],
    ['(a > 1', /cannot be read/],
    ['constructor', /unknown name constructor/],
    ['__proto__', /unknown name __proto__/],
  ])('refuses %s', (source, message) => {
    expect(() => compileExpression(source, names)).toThrow(message);
  });

  it('says what it reads', () => {
    expect(compileExpression('a > 1 and probability > 0', names).uses).toEqual([4, 2]);
  });
});
