import type { EntityPlan, SummarySpec } from './plan.ts';

/**
 * What a pane keeps of one fact of its events: enough to answer every walk that takes the pane as a whole. Summaries of any split of
 * the same events merge to the same.
 */
export interface Summary {
  /** Times of the oldest and the newest event, and the fact's value there (of several at that time, the greatest). */
  firstTime: number;
  firstValue: number;
  lastTime: number;
  lastValue: number;
  least: number;
  greatest: number;
  /** How often each value occurs; undefined where nobody asks. */
  values: Map<number, number> | undefined;
  /** Some values beyond the cap are left out. */
  isSaturated: boolean;
}

/** Single values that a summary counts, and that a window tells apart. */
export const valueCap = 1_000;

export function emptySummary({ keepsValues }: SummarySpec): Summary {
  return {
    firstTime: Number.POSITIVE_INFINITY,
    firstValue: Number.NEGATIVE_INFINITY,
    lastTime: Number.NEGATIVE_INFINITY,
    lastValue: Number.NEGATIVE_INFINITY,
    least: Number.POSITIVE_INFINITY,
    greatest: Number.NEGATIVE_INFINITY,
    values: keepsValues ? new Map() : undefined,
    isSaturated: false,
  };
}

export function emptySummaries(plan: EntityPlan): Summary[] {
  return plan.summaries.map(emptySummary);
}

/** Takes a row's facts into each summary. */
export function summariseRow(
  summaries: readonly Summary[],
  plan: EntityPlan,
  rows: readonly number[],
  start: number,
): void {
  for (let k = 0; k < summaries.length; k++) {
    const { at, bit } = plan.summaries[k];
    if (bit !== 0 && (rows[start + 1] & bit) === 0) continue;
    note(summaries[k], rows[start], at < 0 ? 0 : rows[start + at], 1);
  }
}

function note(summary: Summary, time: number, value: number, times: number): void {
  noteFirst(summary, time, value);
  noteLast(summary, time, value);
  if (value < summary.least) summary.least = value;
  if (value > summary.greatest) summary.greatest = value;
  if (summary.values !== undefined) countValue(summary, summary.values, value, times);
}

function noteFirst(summary: Summary, time: number, value: number): void {
  if (time > summary.firstTime) return;
  summary.firstValue = time < summary.firstTime ? value : Math.max(summary.firstValue, value);
  summary.firstTime = time;
}

function noteLast(summary: Summary, time: number, value: number): void {
  if (time < summary.lastTime) return;
  summary.lastValue = time > summary.lastTime ? value : Math.max(summary.lastValue, value);
  summary.lastTime = time;
}

function countValue(summary: Summary, values: Map<number, number>, value: number, times: number): void {
  const held = values.get(value);
  if (held !== undefined) values.set(value, held + times);
  else if (values.size < valueCap) values.set(value, times);
  else summary.isSaturated = true;
}

/** Takes what `from` holds into `into`. */
export function mergeSummaries(into: readonly Summary[], from: readonly Summary[]): void {
  for (let k = 0; k < into.length; k++) {
    const [target, source] = [into[k], from[k]];
    noteFirst(target, source.firstTime, source.firstValue);
    noteLast(target, source.lastTime, source.lastValue);
    target.least = Math.min(target.least, source.least);
    target.greatest = Math.max(target.greatest, source.greatest);
    target.isSaturated ||= source.isSaturated;
    if (target.values !== undefined)
      for (const [value, times] of source.values!) countValue(target, target.values, value, times);
  }
}
