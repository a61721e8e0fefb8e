import { timeOfDay } from './circle.ts';
import { foldOldest, insertIntoPanes, type Pane, shiftPanes } from './panes.ts';
import { type Cumulative, type EntityPlan, idField } from './plan.ts';
import { emptySummaries, mergeSummaries, type Summary, summariseRow } from './summary.ts';

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
  /** The oldest rows behind the base, one pane each: the events that were folded into it. */
  panes: Pane[];
  /** What was dropped, where totals without end ask for it. */
  dropped: Summary[] | undefined;
  /** Some event came too late to be added to the totals without end. */
  lacksTotals: boolean;
  /** Labels whose transaction has not come yet, oldest first. */
  pending: PendingLabel[];
  /** A bound of what the cumulative columns have added up, signs left out, since they began at 0. */
  magnitude: number;
  /** Changed since it was last handed to the store. */
  dirty: boolean;
}

export interface PendingLabel {
  /** Hash of the transaction's id. */
  readonly id: number;
  /** Mask bits that are to be set, each where its rule says. */
  bits: number;
  /** The label event's own time. */
  readonly time: number;
}

/** Squares are kept as high * 2^48 + low, both exact. */
export const squareLimb = 2 ** 48;

/** Cumulative columns and their differences are exact integers while the magnitude is no larger. */
const exactMagnitude = 2 ** 52;

/** Most sub-states have no panes and no pending labels; whoever adds one makes a list of its own. */
const none: never[] = [];

export function emptySubState(plan: EntityPlan, partition: string): SubState {
  const rows: number[] = [Number.NEGATIVE_INFINITY];
  for (let k = 1; k < plan.stride; k++) rows.push(0);
  const dropped = hasTotals(plan) && plan.summaries.length > 0 ? emptySummaries(plan) : undefined;
  return {
    partition,
    offset: 0,
    rows,
    head: 0,
    last: 0,
    panes: none,
    dropped,
    pending: none,
    lacksTotals: false,
    magnitude: 0,
    dirty: false,
  };
}

/** Whether the plan has windows without end: then the base carries what was dropped. */
export function hasTotals(plan: EntityPlan): boolean {
  return plan.idleMs !== Number.POSITIVE_INFINITY;
}

/** What is retained adds up to more than doubles hold exactly. */
export function isInexact(state: SubState): boolean {
  return state.magnitude > exactMagnitude;
}

/** How many events the rows after the base up to and including this one stand for. */
export function eventsThrough(state: SubState, row: number): number {
  const { panes } = state;
  const index = row - state.head - 1;
  if (panes.length === 0 || index < 0) return index + 1;
  if (index < panes.length) return panes[index].through;
  return panes[panes.length - 1].through + index + 1 - panes.length;
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

/** late: older than what is retained, not applied; folded: part of a pane; kept: a row of its own. */
export type Insertion = 'late' | 'folded' | 'kept';

/** Labels without their transaction that a sub-state remembers; the oldest go first. */
const pendingCap = 1_000;

/**
 * Inserts an event at its own time, behind those of equal time, and drops or folds what is too old. An event that has left the
 * retention already is not applied: then the base remembers that it was there.
 */
export function insertEvent(state: SubState, plan: EntityPlan, time: number, facts: Facts): Insertion {
  const { stride } = plan;
  const newest = state.rows[state.last * stride];
  if (time - newest > plan.idleMs) reset(state, plan);
  else if (time <= newest - plan.retentionMs) {
    const base = state.head * stride;
    if (time > state.rows[base]) state.rows[base] = time;
    state.lacksTotals ||= hasTotals(plan);
    return 'late';
  }
  if (state.pending.length > 0) facts[0] = withPending(state, plan, facts);
  let insertion: Insertion = 'kept';
  if (time >= newest || state.last === state.head) appendRow(state, plan, time, facts);
  else {
    const row = lastRowAt(state, stride, time, state.last) + 1;
    if (row <= state.head + state.panes.length) {
      insertIntoPanes(state, plan, row, time, facts);
      insertion = 'folded';
    } else insertRow(state, plan, row, time, facts);
  }
  dropExpired(state, plan);
  const exact = state.last - state.head - state.panes.length;
  // An eighth at a time, so that folding costs little per event.
  if (exact > plan.exactEvents + (plan.exactEvents >> 3)) {
    foldOldest(state, plan, exact - plan.exactEvents);
    // An event that came late may be among the oldest.
    if (time < newest && time <= state.rows[(state.head + state.panes.length) * stride]) insertion = 'folded';
  }
  if (isInexact(state) && !hasTotals(plan)) rebase(state, plan);
  return insertion;
}

/** After so long without any event totals begin anew. */
function reset(state: SubState, plan: EntityPlan): void {
  const { partition, offset, dirty } = state;
  const newest = state.rows[state.last * plan.stride];
  Object.assign(state, emptySubState(plan, partition), { offset, dirty });
  // Windows of a late event may reach behind it still.
  state.rows[0] = newest;
}

/**
 * Sets a label's bits in the row of the transaction that it refers to, or remembers it until the transaction comes. A label that comes
 * again changes nothing.
 * @param bits of the label rules that apply.
 * @param time the label event's own.
 */
export function applyLabel(state: SubState, plan: EntityPlan, id: number, bits: number, time: number): void {
  const { stride } = plan;
  const { rows } = state;
  const at = idPosition(plan);
  for (let row = state.last; row > state.head + state.panes.length; row--) {
    const before = rows[row * stride + 1];
    if (rows[row * stride + at] !== id || !isTransaction(plan, before)) continue;
    const mask = labelled(plan, before, bits);
    if (mask === before) return;
    rows[row * stride + 1] = mask;
    for (const { kind, numberAt, bit } of plan.cumulatives) {
      const counts = (mask & bit) !== 0 && (before & bit) === 0;
      if (counts) state.magnitude += magnitudeOf(kind, rows[row * stride + numberAt]);
    }
    recount(state, plan, row);
    return;
  }
  remember(state, plan, id, bits, time);
}

function remember(state: SubState, plan: EntityPlan, id: number, bits: number, time: number): void {
  const held = state.pending.find((label) => label.id === id);
  if (held !== undefined) {
    held.bits |= bits;
    return;
  }
  const newest = Math.max(time, state.rows[state.last * plan.stride]);
  state.pending = state.pending.filter((label) => label.time > newest - plan.retentionMs);
  state.pending.push({ id, bits, time });
  if (state.pending.length > pendingCap) state.pending.shift();
}

/** Row position of the hash of the transaction id. */
function idPosition(plan: EntityPlan): number {
  return 2 + plan.numbers.length + plan.hashes.indexOf(idField);
}

/** Labels are about transactions, not about other labels that have the same id. */
function isTransaction({ labels }: EntityPlan, mask: number): boolean {
  return labels.length > 0 && (mask & labels[0].transaction) !== 0;
}

/** The event's mask with the labels that were there before it. */
function withPending(state: SubState, plan: EntityPlan, facts: Facts): number {
  if (!isTransaction(plan, facts[0])) return facts[0];
  const id = facts[idPosition(plan) - 1];
  const found = state.pending.findIndex((label) => label.id === id);
  if (found < 0) return facts[0];
  const [{ bits }] = state.pending.splice(found, 1);
  return labelled(plan, facts[0], bits);
}

function labelled(plan: EntityPlan, mask: number, bits: number): number {
  let labelledMask = mask;
  for (const { bit, requires } of plan.labels) {
    if ((bits & bit) !== 0 && (mask & requires) !== 0) labelledMask |= bit;
  }
  return labelledMask;
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
  openRow(state, plan, row, time);
  for (let k = 0; k < facts.length; k++) rows[row * stride + 1 + k] = facts[k];
  for (let c = 0; c < cumulatives.length; c++)
    state.magnitude += accumulate(rows, (row - 1) * stride, row * stride, cumulatives[c]);
  recount(state, plan, row + 1);
}

/** Makes room for a row; all but its time is 0. */
export function openRow(state: SubState, { stride }: EntityPlan, row: number, time: number): void {
  const { rows } = state;
  const at = row * stride;
  for (let k = 0; k < stride; k++) rows.push(0);
  rows.copyWithin(at + stride, at, (state.last + 1) * stride);
  rows.fill(0, at, at + stride);
  rows[at] = time;
  state.last++;
}

/** Adds the cumulative columns up anew, from a row that is no pane on. */
export function recount(state: SubState, { stride, cumulatives }: EntityPlan, from: number): void {
  for (let c = 0; c < cumulatives.length; c++) {
    for (let row = from; row <= state.last; row++)
      accumulate(state.rows, (row - 1) * stride, row * stride, cumulatives[c]);
  }
}

/**
 * Sets a row's cumulative column(s) to those of the row before it plus what the row's own facts add.
 * @returns a bound of the magnitude added, an integer that follows from the facts alone.
 */
export function accumulate(
  rows: number[],
  before: number,
  at: number,
  { kind, at: column, numberAt, bit }: Cumulative,
): number {
  const counts = bit === 0 || (rows[at + 1] & bit) !== 0;
  if (kind === 'count') {
    rows[at + column] = rows[before + column] + (counts ? 1 : 0);
    return 0;
  }
  if (kind === 'cosine' || kind === 'sine') {
    rows[at + column] = rows[before + column] + (counts ? timeOfDay(kind, rows[at]) : 0);
    return 0;
  }
  const value = counts ? rows[at + numberAt] : 0;
  if (kind === 'sum') {
    rows[at + column] = rows[before + column] + value;
  } else addSquare(rows, before + column, at + column, value);
  return magnitudeOf(kind, value);
}

/** A bound of what a value adds to a column; the high limb of squares may get two carries. */
function magnitudeOf(kind: Cumulative['kind'], value: number): number {
  if (kind === 'sum') return Math.abs(value);
  return kind === 'square' ? Math.floor((value * value) / squareLimb) + 2 : 0;
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
  while (head < state.last && rows[(head + 1) * stride] <= oldest) {
    head++;
    if (state.panes.length > 0 || state.dropped !== undefined) dropRow(state, plan, head);
  }
  state.head = head;
  if (head > 16 && head * 2 > state.last) {
    state.rows = rows.slice(head * stride, (state.last + 1) * stride);
    state.last -= head;
    state.head = 0;
  }
}

/** The row becomes the base. */
function dropRow(state: SubState, plan: EntityPlan, row: number): void {
  const { panes, dropped } = state;
  const pane = panes.shift();
  if (pane !== undefined) for (const later of panes) later.through -= pane.through;
  if (dropped === undefined) return;
  if (pane === undefined) summariseRow(dropped, plan, state.rows, row * plan.stride);
  else mergeSummaries(dropped, pane.summaries);
}

/** Measures the cumulative columns from the base again, as loading does: what was dropped no longer counts. */
function rebase(state: SubState, plan: EntityPlan): void {
  const { stride, cumulatives } = plan;
  const firstExact = state.head + 1 + state.panes.length;
  state.magnitude = shiftPanes(state, plan);
  for (let row = firstExact; row <= state.last; row++) {
    for (const cumulative of cumulatives) {
      state.magnitude += accumulate(state.rows, (row - 1) * stride, row * stride, cumulative);
    }
  }
}
