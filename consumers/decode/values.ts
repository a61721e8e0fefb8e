import type { DeadLetterReason } from '../ports.ts';

/** Why a value cannot be used; a plain value that flows on, not an exception. */
export interface ValueFault {
  readonly reason: DeadLetterReason;
  readonly message: string;
}

export interface NumberRule {
  /** Decimal digits that are kept; 0 where the input is the stored integer already. */
  readonly decimals: number;
  /** Least and greatest value, stored units. */
  readonly min: number;
  readonly max: number;
}

/** Stored integers stay below this, so that squares and sums of a few thousand of them are exact. */
export const largestStored = 2 ** 49;

/** The fixed-point integer of a number or decimal text, exactly. Text may have a sign, an exponent and spaces around it. */
export function readNumber(value: unknown, rule: NumberRule): number | ValueFault {
  let stored: number | ValueFault | undefined;
  if (typeof value === 'string') {
    const plain = plainDecimal(value, rule.decimals);
    stored = plain >= 0 ? plain : scaleText(value, rule.decimals);
  } else if (typeof value === 'number') stored = scaleNumber(value, rule.decimals);
  if (stored === undefined) return { reason: 'wrong-type', message: `expected a number, got ${show(value)}` };
  if (typeof stored !== 'number') return stored;
  if (!(stored >= rule.min && stored <= rule.max)) {
    const factor = 10 ** rule.decimals;
    return {
      reason: 'out-of-range',
      message: `${show(value)} is not between ${rule.min / factor} and ${rule.max / factor}`,
    };
  }
  return stored;
}

/** Fifteen decimal digits always fit the integers that doubles hold exactly. */
const exactDigits = 15;

/** The common case without a regular expression: "57", "57.1", "57.16". -1 where the text is anything else. */
function plainDecimal(text: string, decimals: number): number {
  const { length } = text;
  if (length === 0 || length > exactDigits) return -1;
  let stored = 0;
  let point = -1;
  for (let at = 0; at < length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit >= 0 && digit <= 9) stored = stored * 10 + digit;
    else if (digit === -2 && point < 0 && at > 0) point = at;
    else return -1;
  }
  const given = point < 0 ? 0 : length - 1 - point;
  if (given > decimals) return -1;
  return given === decimals ? stored : scaleUp(stored, decimals - given);
}

/** -1 where the digits that are filled in could take the number out of the exact integers. */
function scaleUp(stored: number, digits: number): number {
  const scaled = stored * 10 ** digits;
  return scaled <= Number.MAX_SAFE_INTEGER ? scaled : -1;
}

/** Everything else that is a decimal number. Undefined when the text is none. */
function scaleText(text: string, decimals: number): number | ValueFault | undefined {
  const trimmed = text.trim();
  const match = /^([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?(e[+-]?\d+)?$/i.exec(trimmed);
  if (!match) {
    return /^[+-]?(nan|inf(inity)?)$/i.test(trimmed)
      ? { reason: 'out-of-range', message: `${show(text)} is no amount` }
      : undefined;
  }
  const [, sign, whole, fraction = '', exponent] = match;
  // An exponent or digits beyond the scale: what a double says of it decides.
  if (exponent !== undefined || /[1-9]/.test(fraction.slice(decimals))) return scaleNumber(Number(trimmed), decimals);
  const stored = Number(whole + fraction.slice(0, decimals).padEnd(decimals, '0'));
  return sign === '-' ? 0 - stored : stored;
}

/**
 * A double's nearest multiple of 10^-decimals, as long as the double is that multiple but for the noise of binary fractions
 * (85.64999999999999 is 85.65): two roundings of 2^-53 each, or a millionth of the last digit kept.
 */
function scaleNumber(value: number, decimals: number): number | ValueFault {
  if (!Number.isFinite(value)) return { reason: 'out-of-range', message: `${value} is no amount` };
  const scaled = value * 10 ** decimals;
  const stored = Math.round(scaled);
  if (Math.abs(scaled - stored) > Math.max(1e-6, Math.abs(stored) * 2 ** -51)) {
    return { reason: 'out-of-range', message: `${value} has more than ${decimals} decimals` };
  }
  return stored + 0;
}

export function readFlag(value: unknown): number | ValueFault {
  if (value === true || value === 1 || value === '1') return 1;
  if (value === false || value === 0 || value === '0') return 0;
  const word = typeof value === 'string' ? value.toLowerCase() : undefined;
  if (word === 'true') return 1;
  if (word === 'false') return 0;
  return { reason: 'wrong-type', message: `expected true, false, 1 or 0, got ${show(value)}` };
}

/** Text, or an integer's decimal text. */
export function readText(value: unknown): string | ValueFault {
  if (typeof value === 'string') {
    // Half a surrogate pair has no UTF-8: different texts would become one in every store.
    return value.isWellFormed() ? value : { reason: 'wrong-type', message: `${show(value)} is no valid Unicode text` };
  }
  if (typeof value === 'number') {
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      return { reason: 'wrong-type', message: `the number ${value} has lost digits in JSON; send it as text` };
    }
    return String(value);
  }
  if (typeof value === 'boolean') return String(value);
  return { reason: 'wrong-type', message: `expected text, got ${show(value)}` };
}

/** Longer ids are no ids, and would not fit the keys of every store. Characters. */
const longestId = 256;

/** A text that names something, neither blank nor endless; also an integer or a boolean. */
export function readId(value: unknown): string | ValueFault {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    return { reason: 'wrong-type', message: `the number ${value} may have lost digits in JSON; send the id as text` };
  }
  const id = readText(value);
  if (typeof id !== 'string') return id;
  if (id.length > longestId) {
    return { reason: 'out-of-range', message: `the id ${show(id)} has ${id.length} characters; at most ${longestId}` };
  }
  const first = id.charCodeAt(0);
  if ((first <= 32 || first > 127) && id.trim() === '') return { reason: 'empty-id', message: 'the id is blank' };
  return id;
}

/** 2200-01-01, milliseconds since the epoch. */
const latestTime = 7_258_118_400_000;

export type TimeUnit = 'ms' | 's' | 'us' | 'iso';

/** Event time in whole milliseconds, what is finer is cut off; ISO texts without a zone are UTC. */
export function readTime(value: unknown, unit: TimeUnit): number | ValueFault {
  const time = unit === 'iso' ? isoTime(value) : epochTime(value, unit);
  if (Number.isNaN(time)) {
    const expected = unit === 'iso' ? 'an ISO 8601 time' : `a time in ${unit} since 1970`;
    return { reason: 'wrong-type', message: `expected ${expected}, got ${show(value)}` };
  }
  if (time < 0 || time > latestTime) {
    return { reason: 'out-of-range', message: `the time ${show(value)} is not between 1970 and 2200` };
  }
  return time;
}

/** A time in the config: ISO 8601, or milliseconds since 1970. */
export function readConfigTime(value: string | number): number | ValueFault {
  return readTime(value, typeof value === 'number' ? 'ms' : 'iso');
}

/** NaN where the value is no number. */
function epochTime(value: unknown, unit: 'ms' | 's' | 'us'): number {
  let number = Number.NaN;
  if (typeof value === 'number') number = value;
  else if (typeof value === 'string') {
    const plain = plainDecimal(value, 0);
    if (plain >= 0) number = plain;
    else if (/^-?\d{1,17}(\.\d+)?$/.test(value)) number = Number(value);
  }
  // A second's fraction is binary noise below a microsecond: 1522540831.123 s must not become 122 ms.
  if (unit === 's') return Math.floor(number * 1000 + 1e-3);
  return Math.floor(unit === 'us' ? number / 1000 : number);
}

const isoPattern =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d\d):?(\d\d))?)?$/;

/** NaN where the text is no ISO 8601 date or time. */
function isoTime(value: unknown): number {
  const match = typeof value === 'string' ? isoPattern.exec(value) : null;
  if (!match) return Number.NaN;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0));
  if (hour > 23 || minute > 59 || second > 59) return Number.NaN;
  // Date.UTC would take the year 70 for 1970.
  const midnight = new Date(0).setUTCFullYear(year, month - 1, day);
  // It lets the 31st of a short month run over into the next.
  if (new Date(midnight).getUTCMonth() !== month - 1 || day === 0) return Number.NaN;
  const millisecond = Number((match[7] ?? '').slice(0, 3).padEnd(3, '0'));
  const [offsetHour, offsetMinute] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  if (offsetHour > 23 || offsetMinute > 59) return Number.NaN;
  const offsetMinutes = offsetHour * 60 + offsetMinute;
  const time = midnight + ((hour * 60 + minute) * 60 + second) * 1000 + millisecond;
  return match[8] === '-' ? time + offsetMinutes * 60_000 : time - offsetMinutes * 60_000;
}

const shown = 60;

/** A value as messages show it, cut; objects only by their kind, however large or deep they are. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value !== 'string') return String(value);
  return value.length > shown ? `${JSON.stringify(value.slice(0, shown))}…` : JSON.stringify(value);
}
