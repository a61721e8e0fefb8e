import type { EntityPlan, WindowFeature } from './plan.ts';
import { featureStates } from './rows.ts';
import { lastRowAt, type SubState, squareLimb } from './sub-state.ts';

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
  const { stride, bounds, spans, readings, scans, features } = plan;
  const edge = new Int32Array(bounds.length);
  const sums = new Float64Array(readings.length);
  const scanned = new Float64Array(scans.length);
  const spanStates = new Uint8Array(spans.length);

  function reset(isStale: boolean): void {
    sums.fill(0);
    for (let k = 0; k < scans.length; k++) scanned[k] = scanStart(scans[k].kind);
    spanStates.fill(isStale ? stale : fresh);
  }

  function add(state: SubState, moment: Moment): void {
    const { rows } = state;
    let row = state.last;
    for (let k = 0; k < edge.length; k++) edge[k] = row = lastRowAt(state, stride, moment.time - bounds[k], row);
    const own = state === moment.own ? 1 : 0;
    const baseTime = rows[state.head * stride];
    for (let k = 0; k < spans.length; k++) {
      if (moment.time - bounds[spans[k].from] < baseTime) spanStates[k] = incomplete;
      else if (state.inexact && spanStates[k] < approximate) spanStates[k] = approximate;
    }
    for (let k = 0; k < readings.length; k++) {
      const { span, at } = readings[k];
      const { from, to, excludeCurrent } = spans[span];
      const high = edge[to] - (excludeCurrent ? own : 0);
      const low = edge[from];
      sums[k] += at < 0 ? high - low : rows[high * stride + at] - rows[low * stride + at];
    }
    for (let k = 0; k < scans.length; k++) {
      const { from, to, excludeCurrent } = spans[scans[k].span];
      scan(state, k, edge[from], edge[to] - (excludeCurrent ? own : 0), moment);
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

  function finish(
    feature: WindowFeature,
    moment: Moment,
    values: Float64Array,
    states: Uint8Array,
    base: number,
  ): void {
    const at = base + feature.column;
    states[at] = spanStates[feature.span];
    let hasData = true;
    if (feature.op === 'count') values[at] = sums[feature.count];
    else if (feature.op === 'time-since-last') {
      hasData = scanned[feature.scan] !== Number.NEGATIVE_INFINITY;
      values[at] = (hasData ? moment.time - scanned[feature.scan] : spans[feature.span].widthMs) / 1000;
    } else if (feature.op === 'is-new') {
      hasData = moment.hashOf(scans[feature.scan].field) !== 0;
      values[at] = hasData && scanned[feature.scan] === 0 ? 1 : 0;
    } else {
      const count = sums[feature.count];
      hasData = count > 0;
      values[at] = hasData ? aggregate(feature, count) : 0;
    }
    if (!hasData && states[at] === fresh && feature.op !== 'sum') states[at] = absent;
  }

  function aggregate(
    feature: Exclude<WindowFeature, { op: 'count' | 'time-since-last' | 'is-new' }>,
    count: number,
  ): number {
    if (feature.op === 'sum') return sums[feature.sum] / feature.divisor;
    if (feature.op === 'mean') return sums[feature.sum] / (count * feature.divisor);
    if (feature.op === 'ratio') return sums[feature.part] / count;
    if (feature.op === 'extreme') return scanned[feature.scan] / feature.divisor;
    return deviation(count, sums[feature.sum], sums[feature.squareHigh], sums[feature.squareLow]) / feature.divisor;
  }

  return {
    evaluate(subStates, moment, values, states, base) {
      reset(moment.isStale);
      for (let k = 0; k < subStates.length; k++) add(subStates[k], moment);
      for (let k = 0; k < features.length; k++) finish(features[k], moment, values, states, base);
    },
    evaluateNone(values, states, base) {
      for (const feature of features) {
        values[base + feature.column] = feature.op === 'time-since-last' ? spans[feature.span].widthMs / 1000 : 0;
        states[base + feature.column] = absent;
      }
    },
  };
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
