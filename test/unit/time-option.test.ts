import { describe, expect, it } from '@jest/globals';
import { timeOption } from '../../cli/time-option.ts';

describe('a time of the command line', () => {
  it.each([
    ['2026-01-09T12:00:00Z', '2026-01-09T12:00:00.000Z'],
    ['2026-01-09T12:00Z', '2026-01-09T12:00:00.000Z'],
    ['2026-01-09T12:00:00.25+01:30', '2026-01-09T10:30:00.250Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['1767960000000', '2026-01-09T12:00:00.000Z'],
    ['946684800000', '2000-01-01T00:00:00.000Z'],
  ])('%s is taken', (text, time) => {
    expect(new Date(timeOption('--at', text)).toISOString()).toBe(time);
  });

  it.each([
    ['noon', /^--at wants a time like .*Z, with its zone, or milliseconds since 1970, not "noon"$/],
    ['2026-01-09 12:00', /with its zone/],
    ['2026-01-09T12:00:00', /with its zone/],
    ['2026-01-09', /with its zone/],
    ['2026-02-31T00:00:00Z', /not "2026-02-31T00:00:00Z"$/],
    ['2025-02-29T00:00:00Z', /not "2025-02-29T00:00:00Z"$/],
    ['1999-12-31T23:59:59Z', /: that is 1999-12-31T23:59:59.000Z, before 2000$/],
    ['1767960000', /: that is 1970-01-21T11:06:00.000Z, before 2000; were seconds meant\?$/],
    ['1767960000000000', /not "1767960000000000"$/],
  ])('%s is refused', (text, sentence) => {
    expect(() => timeOption('--at', text)).toThrow(sentence);
  });
});
