import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileCondition, compileExpression, type ExpressionName } from '../../runtime/expression.ts';

const names: ExpressionName[] = [
  { name: 'card.count.1h', type: 'number' },
  { name: 'terminal.ratio.fraud.7d.delay-7d', type: 'number' },
  { name: 'probability', type: 'number' },
  { name: 'outcome', type: 'text' },
  { name: 'a', type: 'number' },
  { name: 'tip', type: 'number' },
  { name: 'country', type: 'text' },
  { name: 'foreign', type: 'flag' },
  { name: 'online', type: 'flag' },
];
/** tip, country and online are missing. */
const values: Record<string, number | string> = {
  'card.count.1h': 30,
  'terminal.ratio.fraud.7d.delay-7d': 0.6,
  probability: 0.25,
  outcome: 'approved',
  a: 7,
  tip: Number.NaN,
  country: '',
  foreign: 1,
  online: Number.NaN,
};
const read = (index: number) => values[names[index].name];
const evaluate = (source: string) => compileExpression(source, names).evaluate(read);
const unknown = Number.NaN;

describe('expressions', () => {
  it.each([
    ['card.count.1h > 20', 1],
    ['card.count.1h > 20 and terminal.ratio.fraud.7d.delay-7d >= 0.6', 1],
    ['outcome == "approved"', 1],
    ['outcome in ("declined", "approved")', 1],
    ['outcome not in ("declined", "approved")', 0],
    ['not (probability >= 0.2)', 0],
    ['card.count.1h-a == 23', 1],
    ['card.count.1h-7 == 23', 1],
    ['card.count.1h-max(a, 2) == 23', 1],
    ['max(a, 9, 3)', 9],
    ['min(a, -1)', -1],
    ['round(a / 2) + abs(-a) + sqrt(4) + floor(1.9) + ceil(.5) + log10(1e2)', 17],
    ['outcome == "a.b-c \\" and"', 0],
    ['true', 1],
    ['not true or false', 0],
    ['a + 2 * a ^ 2', 105],
    ['2 ^ 3 ^ 0', 2],
    ['-a ^ 2', -49],
    ['20 - 5 - 3', 12],
    ['-a mod 5', 3],
    ['not a > 8', 1],
    ['not a > 8 and a > 8', 0],
    ['a > 8 or a > 6 and a < 8', 1],
    ['0 < a <= 7', 1],
    ['0 < a < 7', 0],
    ['a in (1, 3 + 4)', 1],
    ['foreign', 1],
    ['not foreign', 0],
    ['foreign and a > 6', 1],
    ['foreign == 1', 1],
    ['foreign == true', 1],
    ['(a > 8) == foreign', 0],
    ['(a > 6) != (a > 8)', 1],
    ['a + foreign', 8],
  ])('evaluates %s', (source, wanted) => {
    expect(evaluate(source)).toBe(wanted);
  });

  it.each([
    ['tip > 5', unknown],
    ['tip < 5', unknown],
    ['tip == 5', unknown],
    ['tip != 5', unknown],
    ['5 != tip', unknown],
    ['not (tip > 5)', unknown],
    ['tip in (1, 2)', unknown],
    ['tip not in (1, 2)', unknown],
    ['a in (7, tip)', 1],
    ['a in (8, tip)', unknown],
    ['a not in (7, tip)', 0],
    ['tip + 1 > 0', unknown],
    ['min(tip, 3) < 5', unknown],
    ['max(tip, 3) > 2', unknown],
    ['tip + 1', unknown],
    ['country == "DE"', unknown],
    ['country != "DE"', unknown],
    ['country not in ("DE", "FR")', unknown],
    ['country == outcome', unknown],
    ['online', unknown],
    ['not online', unknown],
    ['online == 0', unknown],
    ['tip > 5 or a > 6', 1],
    ['a > 6 or tip > 5', 1],
    ['tip > 5 or a > 8', unknown],
    ['tip > 5 and a > 6', unknown],
    ['tip > 5 and a > 8', 0],
    ['a > 8 and tip > 5', 0],
    ['exists(tip)', 0],
    ['not exists(country) and exists(outcome) and not exists(online)', 1],
    ['not exists(tip) or tip < 5', 1],
  ])('takes what is missing for unknown: %s', (source, wanted) => {
    expect(evaluate(source)).toBe(wanted);
    if (typeof wanted === 'number' && compileExpression(source, names).type === 'flag')
      expect(compileCondition(source, names).holds(read)).toBe(wanted === 1);
  });

  it.each([
    ['card.cuont.1h > 20', /unknown name card\.cuont\.1h at column 1.*did you mean card\.count\.1h\?/],
    ['a > 1 and proability > 2', /unknown name proability at column 11.*did you mean probability\?/],
    ['a >', /cannot be read at column 4: a value is expected, but it ends/],
    ['(a > 1', /cannot be read at column 7: \) is expected, but it ends/],
    ['a > 1 a', /column 7: `and`, `or` or a comparison is expected, but there is a$/],
    ['a > > 1', /column 5: a value is expected, but there is >/],
    ['a in 1', /column 6: \( is expected/],
    ['a in ()', /column 7: a value is expected/],
    ["outcome == 'DE'", /column 12: a text stands in double quotes/],
    ['outcome == "DE', /column 12: a text stands in double quotes/],
    ['a & 1', /column 3: & has no meaning/],
    ['5x > 1', /column 1: 5 has no meaning/],
    ['', /column 1: a value is expected/],
    ['constructor', /unknown name constructor/],
    ['__proto__', /unknown name __proto__/],
  ])('refuses %s', (source, message) => {
    expect(() => compileExpression(source, names)).toThrow(message);
  });

  it.each([
    ['country > 5', 'country > 5 does not fit: country is a text, and 5 is a number'],
    ['a == "x"', 'a == "x" does not fit: a is a number, and "x" is a text'],
    ['a in (1, "x")', 'a in (1, "x") does not fit: a is a number, and "x" is a text'],
    ['country < "DE"', 'country < "DE" does not fit: texts have no order here, compare them by == or !='],
    ['a == 1 or country == ""', /^country == "" does not fit: an empty text is no value/],
    ['a == 8 and country + 1 > 0', /^country does not fit: a number is needed here, but country is a text/],
    ['(a > 1) + 1 > 0', /^\(a > 1\) does not fit: a number is needed here, but \(a > 1\) is a condition/],
    ['(a > 1) == 1', '(a > 1) == 1 does not fit: (a > 1) is a condition, and 1 is a number'],
    ['(a > 1) > foreign', /does not fit/],
    ['sqrt(a, 2) > 1', 'sqrt(a, 2) does not fit: sqrt takes one value'],
    [
      'a == 8 and probability',
      'probability is a number, not a condition; write a comparison, such as `probability > 0`',
    ],
    ['not a', 'a is a number, not a condition; write a comparison, such as `a > 0`'],
    ['not outcome', 'outcome is a text, not a condition; write a comparison, such as `outcome == "…"`'],
  ])('refuses what could never be true: %s', (source, message) => {
    expect(() => compileExpression(source, names)).toThrow(message);
  });

  it('gives no condition where there is none', () => {
    expect(() => compileCondition('a + 1', names)).toThrow('a + 1 is a number, not a condition');
    expect(compileExpression('a + 1', names).type).toBe('number');
    expect(compileExpression('outcome', names).type).toBe('text');
    expect(compileCondition('foreign', names).holds(read)).toBe(true);
  });

  it('says what it reads', () => {
    expect(compileExpression('a > 1 and probability > 0', names).uses).toEqual([4, 2]);
  });
});

/** What is unknown may be either way: an expression is true or false only if it is so whatever the missing values were. */
describe('unknown', () => {
  type Made = { source: string; of: (read: (name: string) => number) => boolean };
  const compared = fc
    .tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('<', '>=', '==', '!='), fc.integer({ min: 0, max: 2 }))
    .map(([name, operator, by]): Made => {
      const holds = (value: number) =>
        operator === '<' ? value < by : operator === '>=' ? value >= by : (value === by) === (operator === '==');
      return { source: `${name} ${operator} ${by}`, of: (given) => holds(given(name)) };
    });
  const { tree } = fc.letrec<{ tree: Made }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      compared,
      tie('tree').map((of): Made => ({ source: `not (${of.source})`, of: (given) => !of.of(given) })),
      fc.tuple(tie('tree'), tie('tree'), fc.boolean()).map(
        ([left, right, isBoth]): Made => ({
          source: `(${left.source}) ${isBoth ? 'and' : 'or'} (${right.source})`,
          of: (given) => (isBoth ? left.of(given) && right.of(given) : left.of(given) || right.of(given)),
        }),
      ),
    ),
  }));
  const letters: ExpressionName[] = ['a', 'b', 'c'].map((name) => ({ name, type: 'number' }));

  it('is never taken for true or false', () => {
    const known = fc.option(fc.integer({ min: 0, max: 2 }), { nil: Number.NaN });
    fc.assert(
      fc.property(tree, fc.tuple(known, known, known), (made, given) => {
        const answer = compileExpression(made.source, letters).evaluate((index) => given[index]);
        const completions = given.reduce<number[][]>(
          (lists, value) =>
            lists.flatMap((list) => (Number.isNaN(value) ? [0, 1, 2] : [value]).map((v) => [...list, v])),
          [[]],
        );
        const answers = new Set(completions.map((list) => Number(made.of((name) => list['abc'.indexOf(name)]))));
        if (!given.some(Number.isNaN)) expect(answer).toBe([...answers][0]);
        else if (!Number.isNaN(answer)) expect([...answers]).toEqual([answer]);
      }),
      { numRuns: 2000 },
    );
  });
});
