import { WeirError } from '../runtime/errors.ts';

/** The value of a command line option. @throws WeirError CONFIG unless it is a whole number from low to high. */
export function wholeNumber(flag: string, text: string, low: number, high: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= low && value <= high) return value;
  throw new WeirError('CONFIG', `${flag} wants a whole number from ${low} to ${high}, not "${text}"`);
}
