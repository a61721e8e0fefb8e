import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  type NumberRule,
  readFlag,
  readNumber,
  readTime,
  type TimeUnit,
  type ValueFault,
} from '../../consumers/decode/values.ts';

/** What becomes of a value: itself as it is stored, or why it cannot be. */
const storedOr = (read: number | ValueFault): number | string => (typeof read === 'number' ? read : read.reason);
const amountOf = (value: unknown, rule: Partial<NumberRule>) =>
  storedOr(readNumber(value, { decimals: 2, min: -(2 ** 49), max: 2 ** 49, ...rule }));
const timeOf = (value: unknown, unit: string) => storedOr(readTime(value, unit as TimeUnit));

describe('numbers', () => {
  it('are kept exactly, from text and from numbers, at every scale', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 }), fc.integer({ min: -(2 ** 49), max: 2 ** 49 }), (decimals, minor) => {
        const rule = { decimals };
        const text = decimal(minor, decimals);
        expect(amountOf(text, rule)).toBe(minor);
        expect(amountOf(`${text}${decimals === 0 ? '.' : ''}000`, rule)).toBe(minor);
        expect(amountOf(Number(text), rule)).toBe(minor);
      }),
    );
  });

  it.each([
    ['85.64999999999999', 8565],
    ['83.10000000000001', 8310],
    [85.64999999999999, 8565],
    ['52.300000000000004', 5230],
    ['0.30000000000000004', 30],
  ])('drop the noise of binary fractions: %p', (amount, stored) => {
    expect(amountOf(amount, { decimals: 2 })).toBe(stored);
  });

  it.each([
    ['5', 500],
    ['+5', 500],
    ['-5', -500],
    ['5.', 500],
    ['.5', 50],
    ['-.5', -50],
    ['05.10', 510],
    ['5.1000000', 510],
    [' 5.10\t', 510],
    ['1e3', 100_000],
    ['1.5E-1', 15],
    ['12345678901.99', 'out-of-range'],
    ['99999999999999999999999999999999', 'out-of-range'],
    ['1e400', 'out-of-range'],
    ['-Infinity', 'out-of-range'],
    ['5.001', 'out-of-range'],
    ['1e-3', 'out-of-range'],
    ['', 'wrong-type'],
    [' ', 'wrong-type'],
    ['.', 'wrong-type'],
    ['-', 'wrong-type'],
    ['5,10', 'wrong-type'],
    ['1 000', 'wrong-type'],
    ['0x10', 'wrong-type'],
    ['1.2.3', 'wrong-type'],
    ['--5', 'wrong-type'],
    ['५', 'wrong-type'],
  ])('as text: %p', (amount, wanted) => {
    expect(amountOf(amount, { decimals: 2, max: 10 ** 12 })).toBe(wanted);
  });

  it('with too many decimals are refused however large they are', () => {
    expect(amountOf(9_999_999_999.129, { max: 10 ** 12 })).toBe('out-of-range');
    expect(amountOf('9999999999.129', { max: 10 ** 12 })).toBe('out-of-range');
    expect(amountOf(9_999_999_999.12, { max: 10 ** 12 })).toBe(999_999_999_912);
  });

  it('have no negative zero', () => {
    for (const zero of ['-0', '-0.00', '-0e0', -0]) expect(amountOf(zero, {})).toBe(0);
  });
});

describe('times', () => {
  it.each([
    ['ms', 1_700_000_000_123, 1_700_000_000_123],
    ['ms', '1700000000123', 1_700_000_000_123],
    ['ms', 1_700_000_000_123.9, 1_700_000_000_123],
    ['ms', 0, 0],
    ['ms', '', 'wrong-type'],
    ['ms', '1.7e12', 'wrong-type'],
    ['ms', '-5', 'out-of-range'],
    ['s', 1_522_540_831, 1_522_540_831_000],
    ['s', '1522540831.123', 1_522_540_831_123],
    ['s', 1_522_540_831.123, 1_522_540_831_123],
    ['s', '1522540831.1239', 1_522_540_831_123],
    ['us', 1_700_000_000_123_999, 1_700_000_000_123],
    ['us', '1700000000123456', 1_700_000_000_123],
    ['us', true, 'wrong-type'],
  ])('in %s: %p', (unit, ts, wanted) => {
    expect(timeOf(ts, unit)).toBe(wanted);
  });

  it('of every millisecond are the same in all units', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 7_258_118_400_000 }), (ms) => {
        const iso = new Date(ms).toISOString();
        expect([
          timeOf(ms, 'ms'),
          timeOf(ms / 1000, 's'),
          timeOf(String(ms / 1000), 's'),
          timeOf(ms * 1000, 'us'),
          timeOf(iso, 'iso'),
        ]).toEqual([ms, ms, ms, ms, ms]);
      }),
    );
  });

  it.each([
    ['2018-04-01T00:00:31Z', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01T00:00:31', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01 00:00:31', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01 02:30:31.5+02:30', '2018-04-01T00:00:31.500Z'],
    ['2018-03-31T19:00:31-0500', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01T00:00:31.123456789Z', '2018-04-01T00:00:31.123Z'],
    ['2018-04-01T00:00', '2018-04-01T00:00:00.000Z'],
    ['2018-04-01', '2018-04-01T00:00:00.000Z'],
    ['2020-02-29', '2020-02-29T00:00:00.000Z'],
  ])('by ISO 8601: %s', (text, wanted) => {
    expect(new Date(timeOf(text, 'iso') as number).toISOString()).toBe(wanted);
  });

  it.each([
    '2018-02-29',
    '2018-04-31T00:00:00Z',
    '2018-13-01',
    '2018-00-10',
    '2018-01-00',
    '2018-04-01T24:00:00Z',
    '2018-04-01T10:60:00Z',
    '2018-04-01T10:00:00+24:00',
    '2018-04-01T10:00:00+99:99',
    '01.04.2018',
    'now',
    1_700_000_000_000,
  ])('that ISO 8601 does not know: %p', (text) => {
    expect(timeOf(text, 'iso')).toBe('wrong-type');
  });
});

describe('years without a century', () => {
  it.each(['0070-01-01', '0099-06-01T00:00:00Z', '0024-11-25'])('are long ago: %s', (text) => {
    expect(readTime(text, 'iso')).toMatchObject({ reason: 'out-of-range' });
  });
});

describe('flags', () => {
  it('are true, false, 1 and 0 in any spelling of JSON or CSV', () => {
    const spellings = [true, 1, '1', 'true', 'True', 'TRUE', false, 0, '0', 'false', 'False', 'FALSE'];
    expect(spellings.map(readFlag)).toEqual(spellings.map((_, index) => (index < 6 ? 1 : 0)));
  });
});

/** The decimal text of an integer of 10^-scale. */
function decimal(minor: number, scale: number): string {
  const digits = String(Math.abs(minor)).padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${minor < 0 ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`;
}
