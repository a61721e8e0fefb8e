import type { EntityPlan, Walk } from './plan.ts';
import type { Summary } from './summary.ts';
import { valueCap } from './summary.ts';

/** Takes the rows of a window in, from the newest rings to the oldest, in any order of sub-states, and answers. */
export interface Walker {
  /** @param value the current event's own value of the fact. */
  begin(value: number): void;
  /** Rows (low, high] of one sub-state, which are no panes. */
  rows(rows: readonly number[], low: number, high: number): void;
  /** A pane, or what was dropped. @param until what lies behind that time does not count. */
  summary(summary: Summary, until: number): void;
  /** Nothing older can change the answer. */
  isSettled(): boolean;
  /** A window knows no more of the values. */
  isSaturated(): boolean;
  /** Panes, also whole ones, could not say all: the answer is a bound. */
  isInexact(): boolean;
  /** @param since nothing in the window is older than that: a pane that it cuts may be. */
  answer(out: Float64Array, slot: number, since: number): void;
}

export function createWalker(walk: Walk, plan: EntityPlan): Walker {
  switch (walk.kind) {
    case 'min':
      return extreme(walk, plan.stride, -1);
    case 'max':
      return extreme(walk, plan.stride, 1);
    case 'first':
      return first(walk, plan.stride);
    case 'last':
      return last(walk, plan.stride);
    case 'seen':
    case 'same':
      return same(walk, plan.stride);
    case 'distinct':
      return distinct(walk, plan.stride, walk.at >= 2 + plan.numbers.length);
    case 'top':
      return top(walk, plan.stride, walk.at >= 2 + plan.numbers.length);
    case 'streak':
      return streak(walk, plan.stride);
  }
}

const never = () => false;

/** Least (sign -1) or greatest (sign 1) value; Infinity with the opposite sign where there is none. */
function extreme({ at, bit }: Walk, stride: number, sign: number): Walker {
  let best = 0;
  return {
    begin() {
      best = Number.NEGATIVE_INFINITY;
    },
    rows(rows, low, high) {
      for (let start = high * stride, end = low * stride; start > end; start -= stride) {
        if (bit !== 0 && (rows[start + 1] & bit) === 0) continue;
        const value = rows[start + at] * sign;
        if (value > best) best = value;
      }
    },
    summary({ least, greatest }) {
      best = Math.max(best, sign > 0 ? greatest : -least);
    },
    isSettled: never,
    isSaturated: never,
    isInexact: never,
    answer(out, slot) {
      out[slot] = best * sign;
    },
  };
}

/** Time and value of the newest event; of several at that time the greatest value. -Infinity: none. */
function last({ at, bit }: Walk, stride: number): Walker {
  let time = 0;
  let value = 0;
  const take = (at: number, of: number) => {
    if (at > time || (at === time && of > value)) value = of;
    if (at > time) time = at;
  };
  return {
    begin() {
      time = Number.NEGATIVE_INFINITY;
      value = Number.NEGATIVE_INFINITY;
    },
    rows(rows, low, high) {
      for (let start = high * stride, end = low * stride; start > end; start -= stride) {
        if (rows[start] < time) return;
        if (bit !== 0 && (rows[start + 1] & bit) === 0) continue;
        take(rows[start], at < 0 ? 0 : rows[start + at]);
      }
    },
    summary: ({ lastTime, lastValue }, until) => take(Math.min(lastTime, until), lastValue),
    isSettled: () => time !== Number.NEGATIVE_INFINITY,
    isSaturated: never,
    isInexact: never,
    answer(out, slot) {
      out[slot] = time;
      out[slot + 1] = value;
    },
  };
}

/** Time and value of the oldest event; of several at that time the greatest value. Infinity: none. */
function first({ at, bit }: Walk, stride: number): Walker {
  let time = 0;
  let value = 0;
  const take = (at: number, of: number) => {
    if (at < time || (at === time && of > value)) value = of;
    if (at < time) time = at;
  };
  return {
    begin() {
      time = Number.POSITIVE_INFINITY;
      value = Number.NEGATIVE_INFINITY;
    },
    rows(rows, low, high) {
      for (let start = (low + 1) * stride, end = high * stride; start <= end; start += stride) {
        if (rows[start] > time) return;
        if (bit !== 0 && (rows[start + 1] & bit) === 0) continue;
        take(rows[start], at < 0 ? 0 : rows[start + at]);
      }
    },
    summary({ firstTime, firstValue }, until) {
      if (firstTime <= until) take(firstTime, firstValue);
    },
    isSettled: never,
    isSaturated: never,
    isInexact: never,
    answer(out, slot, since) {
      out[slot] = Math.max(time, since);
      out[slot + 1] = value;
    },
  };
}

/** How many events have the current event's value; of kind seen one is enough. */
function same({ kind, at, bit }: Walk, stride: number): Walker {
  const once = kind === 'seen';
  let wanted = 0;
  let count = 0;
  let isCut = false;
  return {
    begin(value) {
      wanted = value;
      count = 0;
      isCut = false;
    },
    rows(rows, low, high) {
      for (let start = high * stride, end = low * stride; start > end; start -= stride) {
        if (rows[start + at] !== wanted || (bit !== 0 && (rows[start + 1] & bit) === 0)) continue;
        count++;
        if (once) return;
      }
    },
    summary({ values, isSaturated }) {
      const found = values!.get(wanted);
      count += found ?? 0;
      isCut ||= isSaturated;
    },
    isSettled: () => once && count > 0,
    isSaturated: () => isCut && !(once && count > 0),
    isInexact: never,
    answer(out, slot) {
      out[slot] = count;
    },
  };
}

/** How many different values; 0 stands for no text. */
function distinct({ at, bit }: Walk, stride: number, isText: boolean): Walker {
  const found = new Set<number>();
  /** Most often an entity's events have the same value again and again. */
  let latest = Number.NaN;
  let isCut = false;
  const take = (value: number) => {
    if (value === latest || (isText && value === 0)) return;
    latest = value;
    if (found.size < valueCap) found.add(value);
    else isCut ||= !found.has(value);
  };
  return {
    begin() {
      found.clear();
      latest = Number.NaN;
      isCut = false;
    },
    rows(rows, low, high) {
      for (let start = high * stride, end = low * stride; start > end; start -= stride) {
        if (bit === 0 || (rows[start + 1] & bit) !== 0) take(rows[start + at]);
      }
    },
    summary(summary) {
      for (const value of summary.values!.keys()) take(value);
      isCut ||= summary.isSaturated;
    },
    isSettled: () => isCut,
    isSaturated: () => isCut,
    isInexact: never,
    answer(out, slot) {
      out[slot] = found.size;
    },
  };
}

/** How often the most frequent value comes, and how many values there are in all. */
function top({ at, bit }: Walk, stride: number, isText: boolean): Walker {
  const counts = new Map<number, number>();
  let most = 0;
  let total = 0;
  let isCut = false;
  const take = (value: number, times: number) => {
    if (isText && value === 0) return;
    total += times;
    const held = counts.get(value);
    if (held === undefined && counts.size === valueCap) {
      isCut = true;
      return;
    }
    const now = (held ?? 0) + times;
    counts.set(value, now);
    if (now > most) most = now;
  };
  return {
    begin() {
      counts.clear();
      most = 0;
      total = 0;
      isCut = false;
    },
    rows(rows, low, high) {
      for (let start = high * stride, end = low * stride; start > end; start -= stride) {
        if (bit === 0 || (rows[start + 1] & bit) !== 0) take(rows[start + at], 1);
      }
    },
    summary(summary) {
      for (const [value, times] of summary.values!) take(value, times);
      isCut ||= summary.isSaturated;
    },
    isSettled: never,
    isSaturated: () => isCut,
    isInexact: never,
    answer(out, slot) {
      out[slot] = most;
      out[slot + 1] = total;
    },
  };
}

/**
 * How many events with the streak's bit are newer than the newest one without it; those at equal time do not count. Panes end
 * the walk: what it has counted is a lower bound then.
 */
function streak({ bit, streakBit }: Walk, stride: number): Walker {
  const times: number[] = [];
  let broken = 0;
  let isPaned = false;
  return {
    begin() {
      times.length = 0;
      isPaned = false;
      broken = Number.NEGATIVE_INFINITY;
    },
    rows(rows, low, high) {
      for (let start = high * stride, end = low * stride; start > end && rows[start] > broken; start -= stride) {
        const mask = rows[start + 1];
        if (bit !== 0 && (mask & bit) === 0) continue;
        if ((mask & streakBit) === 0) {
          broken = rows[start];
          isPaned = false;
          return;
        }
        times.push(rows[start]);
      }
    },
    summary({ lastTime }, until) {
      if (lastTime === Number.NEGATIVE_INFINITY || Math.min(lastTime, until) <= broken) return;
      broken = Math.min(lastTime, until);
      isPaned = true;
    },
    isSettled: () => broken !== Number.NEGATIVE_INFINITY,
    isSaturated: never,
    isInexact: () => isPaned,
    answer(out, slot) {
      let count = 0;
      for (const time of times) if (time > broken) count++;
      out[slot] = count;
    },
  };
}
