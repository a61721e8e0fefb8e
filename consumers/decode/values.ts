import type { DeadLetterReason } from '../ports.ts';

/** Why a value cannot be used; a plain value that flows on, not an exception. */
export interface ValueFault {
  readonly reason: DeadLetterReason;
  readonly message: string;
}

export interface NumberRule {
  readonly scale: number;
  readonly isMinor: boolean;
  /** Stored units. */
  readonly min: number;
  readonly max: number;
}

/** Stored integers stay below this, so that squares and sums of a few thousand of them are exact. */
export const largestStored = 2 ** 49;

/** The fixed-point integer of a number or decimal text, exactly. */
export function readNumber(value: unknown, rule: NumberRule): number | ValueFault {
  const stored =
    typeof value === 'number'
      ? scaleNumber(value, rule)
      : typeof value === 'string'
        ? scaleText(value, rule)
        : undefined;
  if (stored === undefined) return { reason: 'wrong-type', message: `expected a number, got ${show(value)}` };
  if (typeof stored !== 'number') return stored;
  if (!(stored >= rule.min && stored <= rule.max)) {
    return {
      reason: 'out-of-range',
      message: `${show(value)} is not between ${rule.min / 10 ** rule.scale} and ${rule.max / 10 ** rule.scale}`,
    };
  }
  return stored;
}

function scaleNumber(value: number, { scale, isMinor }: NumberRule): number | ValueFault {
  if (!Number.isFinite(value)) return { reason: 'out-of-range', message: `${value} is no amount` };
  const scaled = isMinor ? value : value * 10 ** scale;
  const stored = Math.round(scaled);
  if (Math.abs(scaled - stored) > Math.max(1e-6, Math.abs(stored) * 1e-12)) {
    return { reason: 'out-of-range', message: `${value} has more than ${isMinor ? 0 : scale} decimals` };
  }
  return stored + 0;
}

function scaleText(text: string, rule: NumberRule): number | ValueFault | undefined {
  const match = /^\s*([+-]?)(\d{1,20})(?:\.(\d*))?\s*$/.exec(text);
  if (!match) {
    if (/^\s*[+-]?(nan|inf(inity)?)\s*$/i.test(text))
      return { reason: 'out-of-range', message: `${show(text)} is no amount` };
    if (/^\s*[+-]?\d+(\.\d+)?e[+-]?\d+\s*$/i.test(text)) return scaleNumber(Number(text), rule);
    return undefined;
  }
  const [, sign, whole, decimals = ''] = match;
  const scale = rule.isMinor ? 0 : rule.scale;
  const kept = decimals.slice(0, scale).padEnd(scale, '0');
  if (/[1-9]/.test(decimals.slice(scale))) {
    return { reason: 'out-of-range', message: `${show(text)} has more than ${scale} decimals` };
  }
  const stored = Number(whole + kept);
  return sign === '-' ? 0 - stored : stored;
}

export function readFlag(value: unknown): number | ValueFault {
  if (value === true || value === 1 || value === '1' || value === 'true') return 1;
  if (value === false || value === 0 || value === '0' || value === 'false') return 0;
  return { reason: 'wrong-type', message: `expected true, false, 1 or 0, got ${show(value)}` };
}

/** Ids and texts: text, or an integer's decimal text. */
export function readText(value: unknown): string | ValueFault {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') {
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      return { reason: 'wrong-type', message: `the number ${value} has lost digits in JSON; send it as text` };
    }
    return String(value);
  }
  if (typeof value === 'boolean') return String(value);
  return { reason: 'wrong-type', message: `expected text, got ${show(value)}` };
}

/** 2200-01-01, milliseconds since the epoch. */
const latestTime = 7_258_118_400_000;
const isoPattern = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$/;

/** Event time in whole milliseconds; ISO texts without a zone are UTC. */
export function readTime(value: unknown, unit: 'ms' | 's' | 'us' | 'iso'): number | ValueFault {
  let time: number;
  if (unit === 'iso') {
    if (typeof value !== 'string' || !isoPattern.test(value)) {
      return { reason: 'wrong-type', message: `expected an ISO 8601 time, got ${show(value)}` };
    }
    time = Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(value) || value.length === 10 ? value : `${value.replace(' ', 'T')}Z`);
  } else {
    const number =
      typeof value === 'number'
        ? value
        : typeof value === 'string' && /^\d{1,17}(\.\d+)?$/.test(value)
          ? Number(value)
          : Number.NaN;
    if (Number.isNaN(number))
      return { reason: 'wrong-type', message: `expected a time in ${unit}, got ${show(value)}` };
    time = Math.floor(unit === 's' ? number * 1000 : unit === 'us' ? number / 1000 : number);
  }
  if (Number.isNaN(time)) return { reason: 'wrong-type', message: `${show(value)} is no time` };
  if (time < 0 || time > latestTime)
    return { reason: 'out-of-range', message: `the time ${show(value)} is not between 1970 and 2200` };
  return time;
}

const shown = 60;

/** A value as messages show it, cut. */
export function show(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > shown ? `${text.slice(0, shown)}…` : text;
}
