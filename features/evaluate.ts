import type { Cut, Readings } from './aggregates/aggregate.ts';
import type { EntityPlan, WindowFeature } from './plan.ts';
import { featureStates } from './rows.ts';
import { eventsThrough, type Insertion, isInexact, lastRowAt, type SubState, squareLimb } from './sub-state.ts';
import { createWalker, type Walker } from './walks.ts';

const fresh = featureStates.indexOf('fresh');
const absent = featureStates.indexOf('absent');
const stale = featureStates.indexOf('stale');
const approximate = featureStates.indexOf('approximate');
const saturated = featureStates.indexOf('saturated');
const incomplete = featureStates.indexOf('incomplete');

/** The event at whose time features are evaluated. */
export interface Moment {
  /** Milliseconds since the epoch. */
  time: number;
  /** The sub-state that holds the event itself as a row of its own; else undefined. */
  own: SubState | undefined;
  /** What became of the event in it. */
  insertion: Insertion;
  /** Some other partition's sub-state is older than the bound. */
  isStale: boolean;
  /** What other partitions have from this time on may be missing. Milliseconds since the epoch; Infinity: nothing is. */
  seenBefore: number;
  /** Windows without a delay are stale only where more than this is missing. Milliseconds. */
  toleranceMs: number;
  /** What happened before is not known: the log does not reach back so far. Milliseconds since the epoch; -Infinity: all is. */
  knownFrom: number;
  /** The event's facts: [mask, numbers..., hashes...]. */
  facts: Float64Array;
}

/** Where values go, row-major. */
export interface EvaluatedRows {
  readonly values: Float64Array;
  readonly states: Uint8Array;
  /** By index of the value: between what the true value lies, where the value is approximate by panes. */
  readonly bounds: Map<number, readonly [low: number, high: number]>;
}

export interface Evaluator {
  /**
   * Writes the values and states of the plan's features into the row that begins at `base`.
   * @returns whether one of their windows reaches behind the known history.
   */
  evaluate(subStates: readonly SubState[], moment: Moment, out: EvaluatedRows, base: number): boolean;
  /** What an event without this entity gets. */
  evaluateNone(out: EvaluatedRows, base: number): void;
}

/**
 * Evaluates all features of one entity: every window is read from every sub-state as the difference of two rows, and the
 * differences, all integers, add up. Cost: a search per distinct window edge, a subtraction per distinct reading, and for what
 * needs walks the rows of the widest window.
 */
export function createEvaluator(plan: EntityPlan): Evaluator {
  const { stride, spans, walks, features } = plan;
  // Flat columns of the plan: the loops below run for every event and sub-state.
  const bounds = Float64Array.from(plan.bounds);
  const edgeCount = bounds.length;
  const longest = Math.max(0, ...plan.bounds.filter((bound) => bound !== Number.POSITIVE_INFINITY));
  const isEndless = Uint8Array.from(plan.bounds, (bound) => (bound === Number.POSITIVE_INFINITY ? 1 : 0));
  const readingAt = Int32Array.from(plan.readings, ({ at }) => at);
  const readingFrom = Int32Array.from(plan.readings, ({ span }) => spans[span].from);
  const readingTo = Int32Array.from(plan.readings, ({ span }) => spans[span].to);
  // What a window without end takes off: nothing.
  const readingTakes = Float64Array.from(readingFrom, (from) => 1 - isEndless[from]);
  // The high limb of a sum of squares; the low limb's reading is the next one.
  const readingIsHigh = Int32Array.from(plan.readings, ({ at }) =>
    plan.cumulatives.some((cumulative) => cumulative.kind === 'square' && cumulative.at === at) ? 1 : 0,
  );
  const readingSkips = Int32Array.from(plan.readings, ({ span }) => (spans[span].excludeCurrent ? 1 : 0));
  const walkers = walks.map((walk) => createWalker(walk, plan));
  const outer = newReadings(plan);
  const inner = newReadings(plan);
  const spanStates = new Uint8Array(spans.length);
  const spanIsCut = new Uint8Array(spans.length);
  const slotIsSaturated = new Uint8Array(plan.slots);
  const slotIsInexact = new Uint8Array(plan.slots);
  /** Rows at the window edges, and whether the edge cuts the pane behind: `edgeCount` per sub-state that counts. */
  let edges = new Int32Array(edgeCount);
  let cuts = new Uint8Array(edgeCount);
  const counted: SubState[] = [];
  let hasCuts = false;
  let hasPanes = false;
  /** Some answer is to be given with bounds. */
  let needsBounds = false;

  function search(state: SubState, time: number): void {
    const at = counted.push(state) * edgeCount - edgeCount;
    if (edges.length < at + edgeCount) {
      edges = grown(edges, new Int32Array(edges.length * 2));
      cuts = grown(cuts, new Uint8Array(cuts.length * 2));
    }
    let row = state.last;
    for (let k = 0; k < edgeCount; k++) edges[at + k] = row = lastRowAt(state, stride, time - bounds[k], row);
    const baseTime = state.rows[state.head * stride];
    const inexact = isInexact(state);
    if (time - longest < baseTime || inexact) mark(time, baseTime, inexact);
    if (state.lacksTotals) markTotals();
    if (state.panes.length === 0) return;
    hasPanes = true;
    findCuts(state, time, at);
  }

  /** Totals without end have begun anew since. */
  function isIdle({ rows, head, last }: SubState, time: number): boolean {
    return last !== head && time - rows[last * stride] > plan.idleMs;
  }

  function findCuts(state: SubState, time: number, at: number): void {
    for (let k = 0; k < edgeCount; k++) {
      const pane = state.panes[edges[at + k] - state.head];
      const isCut = isEndless[k] === 0 && pane !== undefined && pane.first <= time - bounds[k];
      cuts[at + k] = isCut ? 1 : 0;
      hasCuts ||= isCut;
    }
  }

  /** With panes that are cut (outer) or without (inner). */
  function read({ sums }: Readings, own: SubState | undefined, withCut: boolean): void {
    for (let k = 0; k < sums.length; k++) sums[k] = 0;
    for (let s = 0; s < counted.length; s++) {
      const state = counted[s];
      if (state.panes.length === 0) readRows(sums, state, s * edgeCount, state === own ? 1 : 0);
      else readPanes(sums, state, s * edgeCount, state === own ? 1 : 0, withCut);
    }
  }

  function readRows(sums: Float64Array, { rows }: SubState, at: number, own: number): void {
    for (let k = 0; k < sums.length; k++) {
      const column = readingAt[k];
      const high = edges[at + readingTo[k]] - (readingSkips[k] & own);
      const low = edges[at + readingFrom[k]];
      if (column < 0) sums[k] += high - low;
      else if (readingIsHigh[k] === 1)
        addSquares(sums, rows, high * stride + column, low * stride + column, readingTakes[k], k++);
      else sums[k] += rows[high * stride + column] - readingTakes[k] * rows[low * stride + column];
    }
  }

  function readPanes(sums: Float64Array, state: SubState, at: number, own: number, withCut: boolean): void {
    const { rows } = state;
    for (let k = 0; k < sums.length; k++) {
      const column = readingAt[k];
      const high = edges[at + readingTo[k]] - (readingSkips[k] & own) + (withCut ? cuts[at + readingTo[k]] : 0);
      const low = Math.min(high, edges[at + readingFrom[k]] + (withCut ? 0 : cuts[at + readingFrom[k]]));
      if (column < 0) sums[k] += eventsThrough(state, high) - eventsThrough(state, low);
      else if (readingIsHigh[k] === 1)
        addSquares(sums, rows, high * stride + column, low * stride + column, readingTakes[k], k++);
      else sums[k] += rows[high * stride + column] - readingTakes[k] * rows[low * stride + column];
    }
  }

  /** With the low limb in its range, whatever the base: also sums that leave the exact integers are then rounded alike. */
  function addSquares(
    sums: Float64Array,
    rows: readonly number[],
    high: number,
    low: number,
    takes: number,
    k: number,
  ): void {
    const lowLimb = rows[high + 1] - takes * rows[low + 1];
    const borrow = lowLimb < 0 ? 1 : 0;
    sums[k] += rows[high] - takes * rows[low] - borrow;
    sums[k + 1] += lowLimb + borrow * squareLimb;
  }

  /** A window that reaches behind the base may lack events. */
  function mark(time: number, baseTime: number, inexact: boolean): void {
    for (let k = 0; k < spanStates.length; k++) {
      const { from, to } = spans[k];
      if (time - bounds[isEndless[from] === 1 ? to : from] < baseTime) spanStates[k] = incomplete;
      else if (inexact && spanStates[k] < approximate) spanStates[k] = approximate;
    }
  }

  function markTotals(): void {
    for (let k = 0; k < spanStates.length; k++) if (isEndless[spans[k].from] === 1) spanStates[k] = incomplete;
  }

  /** A window that reads up to where others are not visible yet. */
  function markUnseen({ time, seenBefore, toleranceMs }: Moment): void {
    for (let k = 0; k < spanStates.length; k++) {
      const delay = bounds[spans[k].to];
      if (time - (delay > 0 ? delay : toleranceMs) >= seenBefore) spanStates[k] = Math.max(spanStates[k], stale);
    }
  }

  /** A window that reaches behind the known history may lack events; totals without end do for good. */
  function markUnknown(time: number, knownFrom: number): boolean {
    let reaches = false;
    for (let k = 0; k < spanStates.length; k++) {
      if (time - bounds[spans[k].from] >= knownFrom) continue;
      spanStates[k] = incomplete;
      reaches = true;
    }
    return reaches;
  }

  /**
   * All windows of a walk in one go, from the narrowest to the widest.
   * @param withCut panes that a window's edges cut are taken whole, or else left out.
   */
  function walkAll({ walked }: Readings, moment: Moment, withCut: boolean): void {
    for (let w = 0; w < walkers.length; w++) {
      const { at, rings } = walks[w];
      const walker = walkers[w];
      walker.begin(at < 0 ? 0 : moment.facts[at - 1]);
      for (let r = 0; r < rings.length; r++) {
        if (!walker.isSettled()) walkRing(w, r, moment, withCut);
        answer(walker, walked, rings[r].slot, moment.time - bounds[rings[r].from]);
      }
    }
  }

  function answer(walker: Walker, walked: Float64Array, slot: number, since: number): void {
    walker.answer(walked, slot, since);
    if (walked !== outer.walked) return;
    slotIsSaturated[slot] = walker.isSaturated() ? 1 : 0;
    slotIsInexact[slot] = walker.isInexact() ? 1 : 0;
    needsBounds ||= walker.isInexact();
  }

  /** Every sub-state's rows between the ring's bound and that of the ring before. */
  function walkRing(w: number, r: number, { time, own }: Moment, withCut: boolean): void {
    const { to, excludeCurrent, summary, rings } = walks[w];
    const { from } = rings[r];
    const until = time - bounds[to];
    for (let s = 0; s < counted.length; s++) {
      const state = counted[s];
      const at = s * edgeCount;
      let high = edges[at + to] - (excludeCurrent && state === own ? 1 : 0) + (withCut ? cuts[at + to] : 0);
      // A pane that was left out because the narrower window cuts it is within this one.
      if (r > 0) high = Math.min(high, edges[at + rings[r - 1].from] + (withCut ? 0 : cuts[at + rings[r - 1].from]));
      const low = Math.min(high, edges[at + from] + (withCut ? 0 : cuts[at + from]));
      const paned = state.head + state.panes.length;
      walkers[w].rows(state.rows, Math.max(low, Math.min(paned, high)), high);
      for (let row = Math.min(high, paned); row > low; row--)
        walkers[w].summary(state.panes[row - state.head - 1].summaries[summary], until);
      if (isEndless[from] === 1 && state.dropped !== undefined) walkers[w].summary(state.dropped[summary], until);
    }
  }

  const cut: Cut = {
    least: (span, summary) => overCuts(span, (pane) => pane[summary].least, Math.min, Number.POSITIVE_INFINITY),
    greatest: (span, summary) => overCuts(span, (pane) => pane[summary].greatest, Math.max, Number.NEGATIVE_INFINITY),
  };

  function overCuts(
    span: number,
    value: (summaries: SubState['panes'][number]['summaries']) => number,
    fold: (a: number, b: number) => number,
    initial: number,
  ): number {
    let folded = initial;
    for (let s = 0; s < counted.length; s++) {
      for (const bound of [spans[span].from, spans[span].to]) {
        const at = s * edgeCount + bound;
        if (cuts[at] === 1) folded = fold(folded, value(counted[s].panes[edges[at] - counted[s].head].summaries));
      }
    }
    return folded;
  }

  function markCuts(): void {
    for (let k = 0; k < spans.length; k++) {
      spanIsCut[k] = 0;
      for (let s = 0; s < counted.length; s++)
        spanIsCut[k] |= cuts[s * edgeCount + spans[k].from] | cuts[s * edgeCount + spans[k].to];
    }
  }

  function finish(feature: WindowFeature, out: EvaluatedRows, base: number): void {
    const { span, alsoSpan, total, slot, compute } = feature;
    const at = base + feature.column;
    let state = Math.max(spanStates[span], spanStates[alsoSpan]);
    const value = compute.value(outer);
    const hasData = !Number.isNaN(value);
    if (total >= 0 && Math.abs(outer.sums[total]) > Number.MAX_SAFE_INTEGER && state < approximate) state = approximate;
    if (slot >= 0 && slotIsSaturated[slot] === 1 && state < saturated) state = saturated;
    const bounds = hasPanes ? uncertainty(feature, value) : undefined;
    if (bounds !== undefined) {
      if (state < approximate) state = approximate;
      if (state === approximate) out.bounds.set(at, bounds);
    } else if (!hasData && state === fresh) state = absent;
    out.values[at] = hasData ? value : compute.noData;
    out.states[at] = state;
  }

  /** Between what the value lies because of panes; undefined: they make no difference. */
  function uncertainty(
    { span, alsoSpan, slot, hasLabel, compute }: WindowFeature,
    value: number,
  ): readonly [number, number] | undefined {
    // Labels do not find transactions that are folded.
    if (hasLabel && holdsPane(span)) return [-Number.MAX_VALUE, Number.MAX_VALUE];
    if (!needsBounds || (spanIsCut[span] | spanIsCut[alsoSpan] | (slot < 0 ? 0 : slotIsInexact[slot])) === 0)
      return undefined;
    // With the cut panes taken whole there is nothing, so there is nothing in any part of them.
    if (Number.isNaN(value) && compute.mayAppear !== true) return undefined;
    return boundsOf(compute, value);
  }

  function holdsPane(span: number): boolean {
    for (let s = 0; s < counted.length; s++) {
      const { panes, head } = counted[s];
      if (edges[s * edgeCount + spans[span].from] < head + panes.length) return true;
    }
    return false;
  }

  function boundsOf(compute: WindowFeature['compute'], value: number): readonly [number, number] {
    if (compute.bounds !== undefined) return compute.bounds(inner, outer, cut);
    const known = (of: number) => (Number.isNaN(of) ? compute.noData : of);
    const other = known(compute.value(inner));
    return [Math.min(known(value), other), Math.max(known(value), other)];
  }

  return {
    evaluate(subStates, moment, out, base) {
      const { time, insertion, knownFrom } = moment;
      counted.length = 0;
      if (hasCuts) cuts.fill(0);
      hasCuts = false;
      hasPanes = false;
      const state = insertion === 'kept' ? (moment.isStale ? stale : fresh) : incomplete;
      for (let k = 0; k < spanStates.length; k++) spanStates[k] = state;
      if (moment.seenBefore !== Number.POSITIVE_INFINITY) markUnseen(moment);
      const isShort = knownFrom !== Number.NEGATIVE_INFINITY && markUnknown(time, knownFrom);
      for (let s = 0; s < subStates.length; s++) {
        if (!isIdle(subStates[s], time)) search(subStates[s], time);
      }
      outer.time = time;
      outer.facts = moment.facts;
      read(outer, moment.own, true);
      needsBounds = hasCuts;
      if (walkers.length > 0) walkAll(outer, moment, true);
      if (needsBounds) {
        markCuts();
        inner.time = time;
        inner.facts = moment.facts;
        read(inner, moment.own, false);
        walkAll(inner, moment, false);
      }
      for (let k = 0; k < features.length; k++) finish(features[k], out, base);
      return isShort;
    },
    evaluateNone(out, base) {
      for (const { column, compute } of features) {
        out.values[base + column] = compute.noData;
        out.states[base + column] = absent;
      }
    },
  };
}

function newReadings(plan: EntityPlan): Readings & { time: number; facts: Float64Array } {
  return {
    sums: new Float64Array(plan.readings.length),
    walked: new Float64Array(plan.slots),
    time: 0,
    facts: new Float64Array(0),
  };
}

function grown<T extends Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from as never);
  return to;
}
