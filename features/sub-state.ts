import type { EntityPlan } from './plan.ts';

/**
 * What one partition's log says of one entity: the retained events in time order (ties in log order) as flat rows, laid out by the
 * entity's plan. The row at `head` is the base: its time is that of the newest event that is not retained (-Infinity while there is
 * none), its cumulative columns are what every window is measured against. A pure function of the log prefix that ends at `offset`,
 * whether it was kept in memory or stored and loaded again.
 */
export interface SubState {
  /** "stream:partition" */
  readonly partition: string;
  /** Log offset (exclusive) of the prefix. */
  offset: number;
  /** Rows, `stride` numbers each; those before head are dropped, not yet compacted. */
  rows: number[];
  /** Row number of the base. */
  head: number;
  /** Row number of the newest event; head when there is none. */
  last: number;
  /** A bound of what the cumulative columns have added up, signs left out, since they began at 0. */
  magnitude: number;
  /** Changed since it was last handed to the store. */
  dirty: boolean;
}

/** Squares are kept as high * 2^48 + low, both exact. */
export const squareLimb = 2 ** 48;

/** Cumulative columns and their differences are exact integers while the magnitude is no larger. */
const exactMagnitude = 2 ** 52;

export function emptySubState(plan: EntityPlan, partition: string): SubState {
  const rows: number[] = [Number.NEGATIVE_INFINITY];
  for (let k = 1; k < plan.stride; k++) rows.push(0);
  return { partition, offset: 0, rows, head: 0, last: 0, magnitude: 0, dirty: false };
}

/** What is retained adds up to more than doubles hold exactly. */
export function isInexact(state: SubState): boolean {
  return state.magnitude > exactMagnitude;
}

/** The greatest row at or before `from`, at or after head, whose time is <= the given one; head when there is none. */
export function lastRowAt(state: SubState, stride: number, time: number, from: number): number {
  const { rows } = state;
  if (rows[from * stride] <= time) return from;
  let low = state.head;
  let high = from;
  // The row wanted is most often near the newer end: widen from there before halving.
  for (let step = 1; high - step > low; step *= 2) {
    if (rows[(high - step) * stride] <= time) {
      low = high - step;
      break;
    }
    high -= step;
  }
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (rows[middle * stride] <= time) low = middle;
    else high = middle;
  }
  return low;
}

/** Facts of one event, as they are retained: [mask, numbers..., hashes...]; numbers are finite. */
export type Facts = Float64Array;

/**
 * Inserts an event at its own time, behind those of equal time, and drops what has left the retention.
 * @returns false when the event itself has left it already: then the base remembers that it was there.
 */
export function insertEvent(state: SubState, plan: EntityPlan, time: number, facts: Facts): boolean {
  const { stride } = plan;
  const { rows } = state;
  const newest = rows[state.last * stride];
  if (time <= newest - plan.retentionMs) {
    const base = state.head * stride;
    if (time > rows[base]) rows[base] = time;
    return false;
  }
  if (time >= newest || state.last === state.head) {
    appendRow(state, plan, time, facts);
  } else {
    insertRow(state, plan, lastRowAt(state, stride, time, state.last) + 1, time, facts);
  }
  dropExpired(state, plan);
  if (isInexact(state)) rebase(state, plan);
  return true;
}

/** Appends behind the newest row; also how decoding fills a sub-state. */
export function appendRow(state: SubState, plan: EntityPlan, time: number, facts: Facts): void {
  const { stride, cumulatives } = plan;
  const { rows } = state;
  const before = state.last * stride;
  rows.push(time);
  for (let k = 0; k < facts.length; k++) rows.push(facts[k]);
  for (let k = 1 + facts.length; k < stride; k++) rows.push(0);
  state.last++;
  for (let c = 0; c < cumulatives.length; c++) {
    state.magnitude += accumulate(rows, before, before + stride, cumulatives[c]);
  }
}

function insertRow(state: SubState, plan: EntityPlan, row: number, time: number, facts: Facts): void {
  const { stride, cumulatives } = plan;
  const { rows } = state;
  const at = row * stride;
  for (let k = 0; k < stride; k++) rows.push(0);
  rows.copyWithin(at + stride, at, (state.last + 1) * stride);
  rows[at] = time;
  for (let k = 0; k < facts.length; k++) rows[at + 1 + k] = facts[k];
  state.last++;
  for (let c = 0; c < cumulatives.length; c++) {
    state.magnitude += accumulate(rows, at - stride, at, cumulatives[c]);
    for (let r = row + 1; r <= state.last; r++) accumulate(rows, (r - 1) * stride, r * stride, cumulatives[c]);
  }
}

/**
 * Sets a row's cumulative column(s) to those of the row before it plus what the row's own facts add.
 * @returns a bound of the magnitude added, an integer that follows from the facts alone.
 */
function accumulate(
  rows: number[],
  before: number,
  at: number,
  { kind, at: column, numberAt, bit }: EntityPlan['cumulatives'][number],
): number {
  const counts = bit === 0 || (rows[at + 1] & bit) !== 0;
  if (kind === 'count') {
    rows[at + column] = rows[before + column] + (counts ? 1 : 0);
    return 0;
  }
  const value = counts ? rows[at + numberAt] : 0;
  if (kind === 'sum') {
    rows[at + column] = rows[before + column] + value;
    return Math.abs(value);
  }
  addSquare(rows, before + column, at + column, value);
  // The high limb may get two carries.
  return Math.floor((value * value) / squareLimb) + 2;
}

/** (high, low) at `to` = (high, low) at `from` + value^2, exact for |value| < 2^50. */
function addSquare(rows: number[], from: number, to: number, value: number): void {
  const magnitude = Math.abs(value);
  const a = Math.floor(magnitude / 2 ** 26);
  const b = magnitude - a * 2 ** 26;
  // value^2 = a^2 * 2^52 + 2ab * 2^26 + b^2, cut at 2^48.
  const cross = 2 * a * b;
  const crossHigh = Math.floor(cross / 2 ** 22);
  let high = rows[from] + a * a * 16 + crossHigh;
  let low = rows[from + 1] + (cross - crossHigh * 2 ** 22) * 2 ** 26;
  if (low >= squareLimb) {
    low -= squareLimb;
    high++;
  }
  const square = b * b;
  const squareHigh = Math.floor(square / squareLimb);
  low += square - squareHigh * squareLimb;
  high += squareHigh;
  if (low >= squareLimb) {
    low -= squareLimb;
    high++;
  }
  rows[to] = high;
  rows[to + 1] = low;
}

/** Moves the base over every event that has left the retention, and now and then gives the space back. */
function dropExpired(state: SubState, plan: EntityPlan): void {
  const { stride } = plan;
  const { rows } = state;
  const oldest = rows[state.last * stride] - plan.retentionMs;
  let head = state.head;
  while (head < state.last && rows[(head + 1) * stride] <= oldest) head++;
  state.head = head;
  if (head > 16 && head * 2 > state.last) {
    state.rows = rows.slice(head * stride, (state.last + 1) * stride);
    state.last -= head;
    state.head = 0;
  }
}

/** Measures the cumulative columns from the base again, as loading does: what was dropped no longer counts. */
function rebase(state: SubState, plan: EntityPlan): void {
  const { stride, cumulatives } = plan;
  const base = state.head * stride;
  state.magnitude = 0;
  for (const { kind, at } of cumulatives) {
    state.rows[base + at] = 0;
    if (kind === 'square') state.rows[base + at + 1] = 0;
  }
  for (let row = state.head + 1; row <= state.last; row++) {
    for (const cumulative of cumulatives) {
      state.magnitude += accumulate(state.rows, (row - 1) * stride, row * stride, cumulative);
    }
  }
}
