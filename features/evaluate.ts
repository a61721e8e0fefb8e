import type { EntityPlan, WindowFeature } from './plan.ts';
import { featureStates } from './rows.ts';
import { isInexact, lastRowAt, type SubState, squareLimb } from './sub-state.ts';

const fresh = featureStates.indexOf('fresh');
const absent = featureStates.indexOf('absent');
const stale = featureStates.indexOf('stale');
const approximate = featureStates.indexOf('approximate');
const incomplete = featureStates.indexOf('incomplete');

/** The event at whose time features are evaluated. */
export interface Moment {
  /** Milliseconds since the epoch. */
  time: number;
  /** The sub-state that holds the event itself; undefined when it was too late to be applied. */
  own: SubState | undefined;
  /** Some other partition's sub-state is older than the bound. */
  isStale: boolean;
  /** Hash of the event's value for a text field, 0 for none. */
  hashOf(field: number): number;
}

export interface Evaluator {
  /** Writes the values and states of the plan's features into the row that begins at `base`. */
  evaluate(
    subStates: readonly SubState[],
    moment: Moment,
    values: Float64Array,
    states: Uint8Array,
    base: number,
  ): void;
  /** What an event without this entity gets. */
  evaluateNone(values: Float64Array, states: Uint8Array, base: number): void;
}

/**
 * Evaluates all features of one entity: every window is read from every sub-state as the difference of two rows, and the
 * differences, all integers, add up. Cost: a search per distinct window edge, a subtraction per distinct reading.
 */
export function createEvaluator(plan: EntityPlan): Evaluator {
  const { stride, spans, scans } = plan;
  // Flat columns of the plan: the loops below run for every event and sub-state.
  const bounds = Float64Array.from(plan.bounds);
  const longest = plan.bounds[plan.bounds.length - 1];
  const readingAt = Int32Array.from(plan.readings, ({ at }) => at);
  const readingFrom = Int32Array.from(plan.readings, ({ span }) => spans[span].from);
  const readingTo = Int32Array.from(plan.readings, ({ span }) => spans[span].to);
  // The high limb of a sum of squares; the low limb's reading is the next one.
  const readingIsHigh = Int32Array.from(plan.readings, ({ at }) =>
    plan.cumulatives.some((cumulative) => cumulative.kind === 'square' && cumulative.at === at) ? 1 : 0,
  );
  const readingSkips = Int32Array.from(plan.readings, ({ span }) => (spans[span].excludeCurrent ? 1 : 0));
  const steps = plan.features.map(stepOf);
  const edges = new Int32Array(bounds.length);
  const sums = new Float64Array(plan.readings.length);
  const scanned = new Float64Array(scans.length);
  const spanStates = new Uint8Array(spans.length);

  function reset(isStale: boolean): void {
    for (let k = 0; k < sums.length; k++) sums[k] = 0;
    for (let k = 0; k < scans.length; k++) scanned[k] = scanStart(scans[k].kind);
    for (let k = 0; k < spanStates.length; k++) spanStates[k] = isStale ? stale : fresh;
  }

  function add(state: SubState, moment: Moment): void {
    const { rows } = state;
    const { time } = moment;
    let row = state.last;
    for (let k = 0; k < edges.length; k++) edges[k] = row = lastRowAt(state, stride, time - bounds[k], row);
    const own = state === moment.own ? 1 : 0;
    const baseTime = rows[state.head * stride];
    if (time - longest < baseTime || isInexact(state)) mark(time, baseTime, isInexact(state));
    for (let k = 0; k < sums.length; k++) {
      const at = readingAt[k];
      const high = edges[readingTo[k]] - (readingSkips[k] & own);
      const low = edges[readingFrom[k]];
      if (at < 0) sums[k] += high - low;
      else if (readingIsHigh[k] === 1) addSquares(rows, high * stride + at, low * stride + at, k++);
      else sums[k] += rows[high * stride + at] - rows[low * stride + at];
    }
    for (let k = 0; k < scans.length; k++) {
      const { from, to, excludeCurrent } = spans[scans[k].span];
      scan(state, k, edges[from], edges[to] - (excludeCurrent ? own : 0), moment);
    }
  }

  /** With the low limb in its range, whatever the base: also sums that leave the exact integers are then rounded alike. */
  function addSquares(rows: readonly number[], high: number, low: number, k: number): void {
    const lowLimb = rows[high + 1] - rows[low + 1];
    const borrow = lowLimb < 0 ? 1 : 0;
    sums[k] += rows[high] - rows[low] - borrow;
    sums[k + 1] += lowLimb + borrow * squareLimb;
  }

  /** A window that reaches behind the base may lack events. */
  function mark(time: number, baseTime: number, inexact: boolean): void {
    for (let k = 0; k < spanStates.length; k++) {
      if (time - bounds[spans[k].from] < baseTime) spanStates[k] = incomplete;
      else if (inexact && spanStates[k] < approximate) spanStates[k] = approximate;
    }
  }

  function scan(state: SubState, k: number, low: number, high: number, moment: Moment): void {
    const { kind, at, bit, field } = scans[k];
    const { rows } = state;
    const wanted = kind === 'seen' ? moment.hashOf(field) : 0;
    for (let row = high; row > low; row--) {
      const start = row * stride;
      if (bit !== 0 && (rows[start + 1] & bit) === 0) continue;
      if (kind === 'last-time') {
        scanned[k] = Math.max(scanned[k], rows[start]);
        return;
      }
      const value = rows[start + at];
      if (kind === 'min') scanned[k] = Math.min(scanned[k], value);
      else if (kind === 'max') scanned[k] = Math.max(scanned[k], value);
      else if (value === wanted) {
        scanned[k] = 1;
        return;
      }
    }
  }

  function finish(step: Step, moment: Moment, values: Float64Array, states: Uint8Array, base: number): void {
    const at = base + step.column;
    const state = spanStates[step.span];
    states[at] = state;
    if (step.op === 'count') {
      values[at] = sums[step.count];
      return;
    }
    let hasData = true;
    if (step.op === 'time-since-last') {
      hasData = scanned[step.scan] !== Number.NEGATIVE_INFINITY;
      values[at] = (hasData ? moment.time - scanned[step.scan] : step.widthMs) / 1000;
    } else if (step.op === 'is-new') {
      hasData = moment.hashOf(step.field) !== 0;
      values[at] = hasData && scanned[step.scan] === 0 ? 1 : 0;
    } else {
      const count = sums[step.count];
      hasData = count > 0;
      values[at] = hasData ? aggregate(step, count) : 0;
      if (step.sum >= 0 && Math.abs(sums[step.sum]) > Number.MAX_SAFE_INTEGER && state < approximate)
        states[at] = approximate;
    }
    if (!hasData && state === fresh && step.op !== 'sum') states[at] = absent;
  }

  function aggregate(step: Step, count: number): number {
    if (step.op === 'sum') return sums[step.sum] / step.divisor;
    if (step.op === 'mean') return sums[step.sum] / (count * step.divisor);
    if (step.op === 'ratio') return sums[step.part] / count;
    if (step.op === 'extreme') return scanned[step.scan] / step.divisor;
    return deviation(count, sums[step.sum], sums[step.squareHigh], sums[step.squareLow]) / step.divisor;
  }

  return {
    evaluate(subStates, moment, values, states, base) {
      reset(moment.isStale);
      for (let k = 0; k < subStates.length; k++) add(subStates[k], moment);
      for (let k = 0; k < steps.length; k++) finish(steps[k], moment, values, states, base);
    },
    evaluateNone(values, states, base) {
      for (const { op, column, widthMs } of steps) {
        values[base + column] = op === 'time-since-last' ? widthMs / 1000 : 0;
        states[base + column] = absent;
      }
    },
  };

  /** All features in one shape, which keeps the property reads of the inner loop cheap. */
  function stepOf(feature: WindowFeature): Step {
    const { op, column, span } = feature;
    const scan = 'scan' in feature ? feature.scan : -1;
    return {
      op,
      column,
      span,
      widthMs: spans[span].widthMs,
      count: 'count' in feature ? feature.count : -1,
      sum: 'sum' in feature ? feature.sum : -1,
      part: 'part' in feature ? feature.part : -1,
      squareHigh: 'squareHigh' in feature ? feature.squareHigh : -1,
      squareLow: 'squareLow' in feature ? feature.squareLow : -1,
      divisor: 'divisor' in feature ? feature.divisor : 1,
      scan,
      field: scan < 0 ? -1 : scans[scan].field,
    };
  }
}

/** A feature as it is computed; -1 where it has no such reading. */
interface Step {
  readonly op: WindowFeature['op'];
  readonly column: number;
  readonly span: number;
  readonly widthMs: number;
  readonly count: number;
  readonly sum: number;
  readonly part: number;
  readonly squareHigh: number;
  readonly squareLow: number;
  readonly divisor: number;
  readonly scan: number;
  readonly field: number;
}

function scanStart(kind: 'min' | 'max' | 'last-time' | 'seen'): number {
  if (kind === 'min') return Number.POSITIVE_INFINITY;
  return kind === 'seen' ? 0 : Number.NEGATIVE_INFINITY;
}

/**
 * Population standard deviation sqrt(n * sum(x^2) - (sum x)^2) / n. The integer under the root is computed exactly, so that
 * nothing cancels; in doubles while all terms are below 2^53, else as BigInt.
 */
function deviation(count: number, sum: number, squareHigh: number, squareLow: number): number {
  const squares = squareHigh * squareLimb + squareLow;
  if (squares * count <= Number.MAX_SAFE_INTEGER && Math.abs(sum) <= 94906265) {
    return Math.sqrt(count * squares - sum * sum) / count;
  }
  const exact = BigInt(squareHigh) * BigInt(squareLimb) + BigInt(squareLow);
  const variance = Number(BigInt(count) * exact - BigInt(sum) * BigInt(sum));
  // Below 0 only where a sum has left the exact integers, and the feature is marked approximate.
  return Math.sqrt(Math.max(0, variance)) / count;
}
