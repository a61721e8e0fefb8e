import type { EntityPlan } from './plan.ts';

/**
 * What one partition's log says of one entity: the retained events in time order (ties in log order) as flat rows, laid out by the
 * entity's plan. The row at `head` is the base: the newest event that is no longer retained (time -Infinity while nothing was
 * ever dropped), whose cumulative columns every window is measured against. A pure function of the log prefix that ends at `offset`.
 */
export interface SubState {
  /** "stream:partition" */
  readonly partition: string;
  /** Log offset (exclusive) of the prefix. */
  offset: number;
  /** Rows, `stride` numbers each; row 0 may lie before head: dropped, not yet compacted. */
  rows: number[];
  /** Row number of the base. */
  head: number;
  /** Row number of the newest event; head when there is none. */
  last: number;
  /** A cumulative column has left the integers that doubles hold exactly. */
  inexact: boolean;
  /** Changed since it was last handed to the store. */
  dirty: boolean;
}

/** Squares are kept as high * 2^48 + low, both exact. */
export const squareLimb = 2 ** 48;

export function emptySubState(plan: EntityPlan, partition: string): SubState {
  const rows: number[] = [Number.NEGATIVE_INFINITY];
  for (let k = 1; k < plan.stride; k++) rows.push(0);
  return { partition, offset: 0, rows, head: 0, last: 0, inexact: false, dirty: false };
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
 * @returns false when the event is older than the retention: it changes nothing.
 */
export function insertEvent(state: SubState, plan: EntityPlan, time: number, facts: Facts): boolean {
  const { stride } = plan;
  const { rows } = state;
  const newest = rows[state.last * stride];
  if (time <= newest - plan.retentionMs) return false;
  if (time >= newest || state.last === state.head) {
    appendRow(state, plan, time, facts);
  } else {
    insertRow(state, plan, lastRowAt(state, stride, time, state.last) + 1, time, facts);
  }
  dropExpired(state, plan);
  return true;
}

/** Appends behind the newest row; also how decoding fills a sub-state. */
export function appendRow(state: SubState, plan: EntityPlan, time: number, facts: Facts): void {
  const { stride, cumulatives } = plan;
  const { rows } = state;
  const before = state.last * stride;
  const at = before + stride;
  const factCount = facts.length;
  rows.push(time);
  for (let k = 0; k < factCount; k++) rows.push(facts[k]);
  for (let k = at + 1 + factCount; k < at + stride; k++) rows.push(0);
  for (let c = 0; c < cumulatives.length; c++) accumulate(rows, before, at, cumulatives[c]);
  state.last++;
  if (exceeds(state, plan)) rebase(state, plan);
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
  for (let r = row; r <= state.last; r++) {
    for (let c = 0; c < cumulatives.length; c++) accumulate(rows, (r - 1) * stride, r * stride, cumulatives[c]);
  }
  if (exceeds(state, plan)) rebase(state, plan);
}

/** Sets a row's cumulative column(s) to the row's before it plus what the row's own facts add. */
function accumulate(
  rows: number[],
  before: number,
  at: number,
  { kind, at: column, numberAt, bit }: EntityPlan['cumulatives'][number],
): void {
  const counts = bit === 0 || (rows[at + 1] & bit) !== 0;
  if (kind === 'count') rows[at + column] = rows[before + column] + (counts ? 1 : 0);
  else if (kind === 'sum') rows[at + column] = rows[before + column] + (counts ? rows[at + numberAt] : 0);
  else addSquare(rows, before + column, at + column, counts ? rows[at + numberAt] : 0);
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
  while (state.head < state.last && rows[(state.head + 1) * stride] <= oldest) state.head++;
  if (state.head > 16 && state.head * 2 > state.last) compact(state, stride);
}

function compact(state: SubState, stride: number): void {
  const from = state.head * stride;
  const length = (state.last - state.head + 1) * stride;
  const { rows } = state;
  for (let k = 0; k < length; k++) rows[k] = rows[from + k];
  rows.length = length;
  state.last -= state.head;
  state.head = 0;
}

function exceeds(state: SubState, plan: EntityPlan): boolean {
  const base = state.last * plan.stride;
  for (const { kind, at } of plan.cumulatives) {
    if (kind === 'sum' && Math.abs(state.rows[base + at]) > Number.MAX_SAFE_INTEGER) return true;
  }
  return false;
}

/** Measures cumulative columns from the base again: differences stay the same, the numbers get small. */
function rebase(state: SubState, plan: EntityPlan): void {
  const { stride, cumulatives } = plan;
  const base = state.head * stride;
  for (const { kind, at } of cumulatives) {
    state.rows[base + at] = 0;
    if (kind === 'square') state.rows[base + at + 1] = 0;
  }
  for (let row = state.head + 1; row <= state.last; row++) {
    for (const cumulative of cumulatives) accumulate(state.rows, (row - 1) * stride, row * stride, cumulative);
  }
  state.inexact = exceeds(state, plan);
}
