import { WeirError } from '../runtime/errors.ts';

/** One look at the process. */
export interface Sample {
  /** Since the load began. */
  readonly atMs: number;
  readonly residentMiB: number;
  readonly heapMiB: number;
  readonly handles: number;
  readonly timers: number;
  readonly lag: number;
}

export interface Verdict {
  /** Medians of the first and of the last third of what came after the warm-up. */
  readonly residentMiB: Change;
  readonly heapMiB: Change;
  readonly handles: Change;
  readonly timers: Change;
  readonly lag: Change;
  /** Slopes of the lines that fit all samples after the warm-up best (least squares). Only shown: over minutes they are mostly chance. */
  readonly residentMiBPerHour: number;
  readonly heapMiBPerHour: number;
  /** What grew more than it may, in sentences; empty: nothing. */
  readonly breaches: readonly string[];
}

type Change = readonly [first: number, last: number];

/** The part in which memory is still taken into use: windows, caches and the heap's generations fill. */
const warmUpShare = 0.3;
/** Of a third, so that its median does not hang on where garbage was collected. */
const leastSamples = 10;
/** Resident memory and heap move by some percent with the collector; a leak goes on with time and load. */
const mostGrowth = 0.1;
/** A request that is under way, or a connection made anew, has a few; a leak adds some with each. */
const mostMore = 5;
const hourMs = 3_600_000;

/** @throws WeirError CONFIG when there are too few samples to tell growth from chance. */
export function judge(samples: readonly Sample[]): Verdict {
  const warm = samples.slice(Math.floor(samples.length * warmUpShare));
  const third = Math.floor(warm.length / 3);
  if (third < leastSamples) {
    const counts = `${samples.length} samples, of which ${warm.length} after the warm-up`;
    throw new WeirError('CONFIG', `${counts}: a verdict wants ${3 * leastSamples} of those; raise --minutes`);
  }
  const change = (of: (sample: Sample) => number): Change => [
    median(warm.slice(0, third).map(of)),
    median(warm.slice(-third).map(of)),
  ];
  const changes = {
    residentMiB: change(({ residentMiB }) => residentMiB),
    heapMiB: change(({ heapMiB }) => heapMiB),
    handles: change(({ handles }) => handles),
    timers: change(({ timers }) => timers),
    lag: change(({ lag }) => lag),
  };
  const breaches: string[] = [];
  const within = (what: string, [first, last]: Change, most: number) => {
    if (!(last <= most)) breaches.push(`${what} grew from ${Math.round(first)} to ${Math.round(last)}`);
  };
  within('resident memory, MiB,', changes.residentMiB, changes.residentMiB[0] * (1 + mostGrowth));
  within('handles', changes.handles, changes.handles[0] + mostMore);
  within('timers', changes.timers, changes.timers[0] + mostMore);
  const perHour = (of: (sample: Sample) => number) => hourMs * slope(warm.map((sample) => [sample.atMs, of(sample)]));
  return {
    ...changes,
    residentMiBPerHour: perHour(({ residentMiB }) => residentMiB),
    heapMiBPerHour: perHour(({ heapMiB }) => heapMiB),
    breaches,
  };
}

/** Of the line that has the least squares of distance from the points. */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const covariance = mean(points.map(([x, y]) => (x - meanX) * (y - meanY)));
  return covariance / mean(points.map(([x]) => (x - meanX) ** 2));
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
