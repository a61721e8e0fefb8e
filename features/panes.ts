import type { EntityPlan } from './plan.ts';
import { accumulate, openRow, recount, type SubState, squareLimb } from './sub-state.ts';
import { emptySummaries, mergeSummaries, type Summary, summariseRow } from './summary.ts';

/**
 * Panes bound what a busy entity costs. The oldest events are folded together: of a pane there is one row, whose time is that of its
 * newest event and whose cumulative columns are those behind all of its events, and a summary of the facts that walks look at. A
 * window whose edge falls between two panes is as exact as before; one that cuts a pane is not.
 */
export interface Pane {
  /** Time of the oldest event. */
  first: number;
  /** Events of this and all older panes. */
  through: number;
  readonly summaries: Summary[];
}

/** A pane is at most this part of the narrowest window whose edge has yet to pass it. */
const panesPerWindow = 64;

/**
 * Width of the panes that lie `age` behind the newest event: a power of two, so that panes which grow with their age keep their
 * borders. At least a millisecond.
 */
function paneWidth(plan: EntityPlan, age: number): number {
  let narrowest = Number.POSITIVE_INFINITY;
  for (const { from, widthMs } of plan.spans) {
    if (plan.bounds[from] >= age && widthMs < narrowest) narrowest = widthMs;
  }
  // Only totals without end are left, or nothing: one edge that matters is the end of what is retained.
  if (narrowest === Number.POSITIVE_INFINITY) narrowest = Math.max(plan.retentionMs, panesPerWindow);
  return 2 ** Math.max(0, Math.floor(Math.log2(narrowest / panesPerWindow)));
}

/** Folds the oldest `count` rows that are no panes yet, and panes that may be wider by now. Which, follows from the log alone. */
export function foldOldest(state: SubState, plan: EntityPlan, count: number): void {
  const { stride } = plan;
  const { rows, head } = state;
  const newest = rows[state.last * stride];
  const old = state.panes;
  const panes: Pane[] = [];
  const folded = old.length + count;
  let to = head;
  let through = 0;
  for (let index = 0; index < folded; index++) {
    const row = head + 1 + index;
    const time = rows[row * stride];
    const first = index < old.length ? old[index].first : time;
    through = index < old.length ? old[index].through : through + 1;
    const summaries = index < old.length ? old[index].summaries : summaryOf(state, plan, row);
    const width = paneWidth(plan, newest - time);
    const last = panes[panes.length - 1];
    if (last !== undefined && Math.floor(last.first / width) === Math.floor(time / width)) {
      last.through = through;
      mergeSummaries(last.summaries, summaries);
    } else {
      panes.push({ first, through, summaries });
      to++;
    }
    rows.copyWithin(to * stride, row * stride, (row + 1) * stride);
    // A pane's row has no facts: what is kept of them is in its summaries.
    rows.fill(0, to * stride + 1, to * stride + 2 + plan.numbers.length + plan.hashes.length);
  }
  rows.copyWithin((to + 1) * stride, (head + 1 + folded) * stride, (state.last + 1) * stride);
  state.last -= head + folded - to;
  rows.length = (state.last + 1) * stride;
  state.panes = panes;
}

function summaryOf(state: SubState, plan: EntityPlan, row: number): Summary[] {
  const summaries = emptySummaries(plan);
  summariseRow(summaries, plan, state.rows, row * plan.stride);
  return summaries;
}

/** An event that comes so late that its neighbours are folded already. @param row the first one behind its time: a pane's. */
export function insertIntoPanes(
  state: SubState,
  plan: EntityPlan,
  row: number,
  time: number,
  facts: Float64Array,
): void {
  const { head, panes } = state;
  const { stride } = plan;
  let index = row - head - 1;
  const added = panes.map((_, k) => deltas(state.rows, plan, head + 1 + k, head + k));
  // The event alone, behind a row of zeros.
  const alone: number[] = new Array(2 * stride).fill(0);
  alone[stride] = time;
  for (let k = 0; k < facts.length; k++) alone[stride + 1 + k] = facts[k];
  for (const cumulative of plan.cumulatives) state.magnitude += accumulate(alone, 0, stride, cumulative);
  const own = deltas(alone, plan, 1, 0);
  // Its own pane, or one that folding would have put it into; else a new one.
  if (panes[index].first > time && !joins(state, plan, index, time)) {
    if (index > 0 && joins(state, plan, index - 1, time)) {
      index--;
      state.rows[(head + 1 + index) * stride] = time;
    } else {
      const through = index === 0 ? 0 : panes[index - 1].through;
      panes.splice(index, 0, { first: time, through, summaries: emptySummaries(plan) });
      added.splice(index, 0, new Array(stride).fill(0));
      openRow(state, plan, row, time);
    }
  }
  const pane = panes[index];
  pane.first = Math.min(pane.first, time);
  addColumns(plan, added[index], added[index], own);
  summariseRow(pane.summaries, plan, alone, stride);
  for (let k = index; k < panes.length; k++) {
    panes[k].through++;
    addDeltas(state.rows, plan, head + 1 + k, added[k]);
  }
  recount(state, plan, head + 1 + panes.length);
}

/** Whether folding would have put the event into the pane, which begins later or ends earlier. */
function joins({ panes, rows, last }: SubState, plan: EntityPlan, index: number, time: number): boolean {
  const width = paneWidth(plan, rows[last * plan.stride] - time);
  return Math.floor(panes[index].first / width) === Math.floor(time / width);
}

/** What the cumulative columns of a row add to those of an earlier one, laid out like a row. */
export function deltas(rows: readonly number[], plan: EntityPlan, row: number, before: number): number[] {
  const { stride, cumulatives } = plan;
  const out: number[] = new Array(stride).fill(0);
  for (const { kind, at } of cumulatives) {
    out[at] = rows[row * stride + at] - rows[before * stride + at];
    if (kind !== 'square') continue;
    out[at + 1] = rows[row * stride + at + 1] - rows[before * stride + at + 1];
    if (out[at + 1] < 0) {
      out[at + 1] += squareLimb;
      out[at]--;
    }
  }
  return out;
}

/** Sets the row's cumulative columns to those of the row before plus the deltas. */
export function addDeltas(rows: number[], plan: EntityPlan, row: number, added: readonly number[]): void {
  const { stride } = plan;
  addColumns(plan, rows, rows, added, row * stride, (row - 1) * stride);
}

/** Columns of `left` plus those of `right`, squares carried. */
function addColumns(
  { cumulatives }: EntityPlan,
  out: number[],
  left: readonly number[],
  right: readonly number[],
  outAt = 0,
  leftAt = 0,
): void {
  for (const { kind, at } of cumulatives) {
    out[outAt + at] = left[leftAt + at] + right[at];
    if (kind !== 'square') continue;
    out[outAt + at + 1] = left[leftAt + at + 1] + right[at + 1];
    if (out[outAt + at + 1] >= squareLimb) {
      out[outAt + at + 1] -= squareLimb;
      out[outAt + at]++;
    }
  }
}

/** Measures the panes' columns from a base of 0. @returns a bound of the magnitude that they add up to. */
export function shiftPanes(state: SubState, plan: EntityPlan): number {
  const { stride, cumulatives } = plan;
  const { rows, head } = state;
  const all = state.panes.map((_, index) => deltas(rows, plan, head + 1 + index, head + index));
  for (const { kind, at } of cumulatives) {
    rows[head * stride + at] = 0;
    if (kind === 'square') rows[head * stride + at + 1] = 0;
  }
  let magnitude = 0;
  for (const [index, added] of all.entries()) {
    addDeltas(rows, plan, head + 1 + index, added);
    for (const { kind, at } of cumulatives)
      if (kind === 'sum' || kind === 'square') magnitude += Math.abs(added[at]) + 2;
  }
  return magnitude;
}
