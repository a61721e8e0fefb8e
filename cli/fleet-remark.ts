import type { Frontier } from '../features/frontier.ts';

/** Something in a fleet that wants attention. */
export interface Remark {
  /** What it is, one word or two for machines. */
  readonly what: string;
  /** The partition's number, the shard's id or the member's name; null: the whole fleet. */
  readonly of: number | string | null;
  readonly message: string;
}

export const storeAway = (reason: string): Remark => ({
  what: 'store-away',
  of: null,
  message: `The state store cannot be asked, so fences and event times are not known here: ${reason}`,
});

export function remarksAsText(remarks: readonly Remark[]): string {
  if (remarks.length === 0) return '\nNothing wants attention.\n';
  return ['\nWants attention:\n', ...remarks.map(({ message }) => `- ${message}\n`)].join('');
}

/** For the JSON line; `event_time` is null where the owner has not met an event yet. */
export function frontierAsJson(frontier: Frontier | undefined): object | null {
  if (frontier === undefined) return null;
  const { time, state, saidAt } = frontier;
  return { event_time: isoTime(time), state, said_at: isoTime(saidAt) };
}

/** Heads of the columns that frontierCells() gives. */
export const frontierHeads = ['event time', 'is', 'said'] as const;

/** For the tables: the event time reached (nothing where the owner has not met an event yet), what it does there, how long ago it said so. */
export function frontierCells(frontier: Frontier | undefined, now: number): readonly [string, string, string] {
  if (frontier === undefined) return ['', '', ''];
  const { time, state, saidAt } = frontier;
  return [isoTime(time) ?? '', state, `${ageText(now - saidAt)} ago`];
}

function isoTime(time: number): string | null {
  return Number.isFinite(time) ? new Date(time).toISOString() : null;
}

/** "4 s", "3 min", "5 h", "2 d": rounded down. @param ms not counted below 0, should two clocks differ. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
