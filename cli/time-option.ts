import { WeirError } from '../runtime/errors.ts';

/** A time of the command line, milliseconds since the epoch. @throws WeirError CONFIG unless it is ISO 8601 or whole milliseconds. */
export function timeOption(flag: string, text: string): number {
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(time)) return time;
  throw new WeirError(
    'CONFIG',
    `${flag} wants a time like 2026-01-01T00:00:00Z, or milliseconds since 1970, not "${text}"`,
  );
}
