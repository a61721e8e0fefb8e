import { z } from 'zod';
import { WeirError } from '../runtime/errors.ts';

/** With a zone and a date that the calendar has; seconds may be left out. */
const moment = z.union([z.iso.datetime({ offset: true }), z.iso.datetime({ offset: true, precision: -1 })]);

/** What is earlier is a slip: the present time in seconds, read as milliseconds, lies in January 1970. */
const earliest = Date.UTC(2000, 0);

/**
 * A time of the command line, milliseconds since the epoch.
 * @throws WeirError CONFIG unless it is ISO 8601 with a zone, or whole milliseconds, and not before 2000.
 */
export function timeOption(flag: string, text: string): number {
  const isMilliseconds = /^\d{1,15}$/.test(text);
  const time = moment.safeParse(text).success ? Date.parse(text) : isMilliseconds ? Number(text) : Number.NaN;
  if (time >= earliest) return time;
  const wanted = `${flag} wants a time like 2026-01-01T00:00:00Z, with its zone, or milliseconds since 1970, not "${text}"`;
  if (Number.isNaN(time)) throw new WeirError('CONFIG', wanted);
  const why = isMilliseconds ? '; were seconds meant?' : '';
  throw new WeirError('CONFIG', `${wanted}: that is ${new Date(time).toISOString()}, before 2000${why}`);
}
