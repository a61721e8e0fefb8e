import { squareLimb } from '../sub-state.ts';
import { type Aggregate, type AggregateRequest, type Cut, meanBounds, type Readings } from './aggregate.ts';

const exact = 'exact; by panes between its bounds';
const constant = 'constant';

export const count: Aggregate = {
  name: 'count',
  arguments: [],
  meaning: (events) => `the number of ${events}`,
  noData: '0',
  exactness: exact,
  retains: 'nothing',
  cost: constant,
  example: 'count',
  plan({ builder, span, bit }) {
    const at = builder.count(span, bit);
    return { compute: { noData: 0, value: ({ sums }) => sums[at] } };
  },
};

export const ratio: Aggregate = {
  name: 'ratio',
  arguments: ['filter', 'filter'],
  optionalArguments: 1,
  meaning: (events, part, whole) =>
    whole === undefined
      ? `the share of ${events} that pass ${part}`
      : `the number of ${events} that pass ${part}, over the number that pass ${whole}`,
  noData: '0, absent: nothing to divide by',
  exactness: exact,
  retains: 'a bit for each filter',
  cost: constant,
  example: 'ratio(declined, approved)',
  plan({ builder, span, bit, filters }) {
    const part = builder.count(span, filters[0]);
    const isPartOfWhole = filters.length === 1 || filters[1] === 0;
    const whole = builder.count(span, isPartOfWhole ? bit : filters[1]);
    return {
      compute: {
        noData: 0,
        // Without a part of the whole there may be something of the one and nothing of the other.
        value: ({ sums }) => (sums[whole] === 0 ? Number.NaN : sums[part] / sums[whole]),
        bounds(inner, outer) {
          const [least, most] = [inner.sums[part], outer.sums[part]];
          const [fewest, all] = [inner.sums[whole], outer.sums[whole]];
          if (!isPartOfWhole)
            return [all === 0 || fewest === 0 ? 0 : least / all, fewest === 0 ? Number.MAX_VALUE : most / fewest];
          const others = all - fewest - (most - least);
          return [least / Math.max(1, fewest + others), most / Math.max(1, fewest + most - least)];
        },
      },
    };
  },
};

export const burst: Aggregate = {
  name: 'burst',
  arguments: ['window'],
  meaning: (events, longer) => `the rate of ${events}, over the rate in ${longer} that ends with it`,
  noData: '0, absent: no event in the longer window',
  exactness: exact,
  retains: 'nothing',
  cost: constant,
  example: 'burst(30d)',
  needsWidth: true,
  plan({ builder, span, bit, widthMs, windows, spanOf }) {
    const longSpan = spanOf(windows[0]);
    const short = builder.count(span, bit);
    const long = builder.count(longSpan, bit);
    const factor = windows[0] / widthMs;
    return {
      alsoSpan: longSpan,
      compute: {
        noData: 0,
        value: ({ sums }) => (sums[short] * factor) / sums[long],
        bounds: (inner, outer) => [
          outer.sums[long] === 0 ? 0 : (inner.sums[short] * factor) / outer.sums[long],
          (outer.sums[short] * factor) / Math.max(1, inner.sums[long], inner.sums[short]),
        ],
      },
    };
  },
};

function summed({ builder, span, bit, fields, divisors }: AggregateRequest) {
  const field = fields[0];
  const summary = builder.summary({ type: 'number', field }, bit, false);
  const sum = builder.sum(span, field, bit);
  const count = builder.count(span, bit);
  /** How many events are in cut panes, and between what their values lie. */
  const uncertain = (inner: Readings, outer: Readings, cut: Cut) => ({
    more: outer.sums[count] - inner.sums[count],
    least: cut.least(span, summary),
    greatest: cut.greatest(span, summary),
  });
  return { sum, count, uncertain, divisor: divisors[0] };
}

export const sum: Aggregate = {
  name: 'sum',
  arguments: ['number'],
  meaning: (events, field) => `the sum of ${field} over ${events}, in major units`,
  noData: '0',
  exactness: 'exact to 2^53 of the smallest units; by panes between its bounds',
  retains: "the field's value",
  cost: constant,
  example: 'sum(amount)',
  plan(request) {
    const { sum, uncertain, divisor } = summed(request);
    return {
      total: sum,
      compute: {
        noData: 0,
        value: ({ sums }) => sums[sum] / divisor,
        bounds(inner, outer, cut) {
          const { more, least, greatest } = uncertain(inner, outer, cut);
          if (more === 0) return [inner.sums[sum] / divisor, inner.sums[sum] / divisor];
          return [
            (inner.sums[sum] + more * Math.min(0, least)) / divisor,
            (inner.sums[sum] + more * Math.max(0, greatest)) / divisor,
          ];
        },
      },
    };
  },
};

export const mean: Aggregate = {
  name: 'mean',
  arguments: ['number'],
  meaning: (events, field) => `the mean of ${field} over ${events}, in major units`,
  notes: 'sum / (count * 10^scale), rounded once.',
  noData: '0, absent',
  exactness: 'as sum',
  retains: "the field's value",
  cost: constant,
  example: 'mean(amount)',
  plan(request) {
    const { sum, count, uncertain, divisor } = summed(request);
    return {
      total: sum,
      compute: {
        noData: 0,
        value: ({ sums }) => (sums[count] === 0 ? Number.NaN : sums[sum] / (sums[count] * divisor)),
        bounds(inner, outer, cut) {
          const { more, least, greatest } = uncertain(inner, outer, cut);
          return hullWithNone(
            inner.sums[count],
            meanBounds(inner.sums[sum], inner.sums[count], more, least, greatest),
            divisor,
          );
        },
      },
    };
  },
};

/** Where perhaps there is no event at all, the value may be 0 as well. */
function hullWithNone(
  certain: number,
  [low, high]: readonly [number, number],
  divisor: number,
): readonly [number, number] {
  if (certain > 0) return [low / divisor, high / divisor];
  return [Math.min(0, low / divisor), Math.max(0, high / divisor)];
}

interface Moments {
  readonly sum: number;
  readonly count: number;
  readonly squareHigh: number;
}

/**
 * Population standard deviation sqrt(n * sum(x^2) - (sum x)^2) / n, in stored units. The integer under the root is computed exactly, so
 * that nothing cancels; in doubles while all terms are below 2^53, else as BigInt.
 */
function deviation({ sums }: Readings, { sum, count, squareHigh }: Moments): number {
  const n = sums[count];
  const total = sums[sum];
  const squares = sums[squareHigh] * squareLimb + sums[squareHigh + 1];
  if (squares * n <= Number.MAX_SAFE_INTEGER && Math.abs(total) <= 94906265) {
    return Math.sqrt(n * squares - total * total) / n;
  }
  const exact = BigInt(sums[squareHigh]) * BigInt(squareLimb) + BigInt(sums[squareHigh + 1]);
  const variance = Number(BigInt(n) * exact - BigInt(total) * BigInt(total));
  // Below 0 only where a sum has left the exact integers, and the feature is marked approximate.
  return Math.sqrt(Math.max(0, variance)) / n;
}

export const stddev: Aggregate = {
  name: 'stddev',
  arguments: ['number'],
  meaning: (events, field) => `the standard deviation of ${field} over ${events}, in major units`,
  notes: "The population's: sqrt(n * sum(x^2) - sum(x)^2) / n, the integer under the root being exact.",
  noData: '0, absent',
  exactness: 'as sum, the squares to 2^100',
  retains: "the field's value",
  cost: constant,
  example: 'stddev(amount)',
  plan(request) {
    const { builder, span, bit, fields } = request;
    const squareHigh = builder.square(span, fields[0], bit);
    const { sum, count, uncertain, divisor } = summed(request);
    const moments = { sum, count, squareHigh };
    return {
      total: sum,
      compute: {
        noData: 0,
        value: (read) => (read.sums[count] === 0 ? Number.NaN : deviation(read, moments) / divisor),
        bounds(inner, outer, cut) {
          const { more, least, greatest } = uncertain(inner, outer, cut);
          const certain = inner.sums[count];
          const squares = inner.sums[squareHigh] * squareLimb + inner.sums[squareHigh + 1];
          const [squareLeast, squareMost] = [
            least <= 0 && greatest >= 0 ? 0 : Math.min(least * least, greatest * greatest),
            Math.max(least * least, greatest * greatest),
          ];
          const [low, high] = meanBounds(inner.sums[sum], certain, more, least, greatest);
          const [lowSquare, highSquare] = meanBounds(squares, certain, more, squareLeast, squareMost);
          const meanSquareLeast = low <= 0 && high >= 0 ? 0 : Math.min(low * low, high * high);
          const least2 = certain === 0 ? 0 : lowSquare - Math.max(low * low, high * high);
          // A little wider than exact, for the roundings of this very computation.
          const slack = highSquare * 1e-12;
          return [
            Math.sqrt(Math.max(0, least2 - slack)) / divisor,
            Math.sqrt(Math.max(0, highSquare - meanSquareLeast + slack)) / divisor,
          ];
        },
      },
    };
  },
};

export const zScore: Aggregate = {
  name: 'z-score',
  arguments: ['number'],
  meaning: (events, field) =>
    `how many standard deviations the current event's ${field} lies above the mean of ${events}`,
  noData: '0, absent: no value, no history, or one that does not vary',
  exactness: 'as stddev; no bounds by panes',
  retains: "the field's value",
  cost: constant,
  example: 'z-score(amount)',
  excludesCurrent: true,
  plan(request) {
    const { builder, span, bit, fields } = request;
    const squareHigh = builder.square(span, fields[0], bit);
    const { sum, count } = summed(request);
    const present = request.present(0);
    const position = builder.position({ type: 'number', field: fields[0] });
    return {
      total: sum,
      compute: {
        noData: 0,
        mayAppear: true,
        value(read) {
          const { sums, facts } = read;
          if (sums[count] === 0 || (present !== 0 && (facts[0] & present) === 0)) return Number.NaN;
          const spread = deviation(read, { sum, count, squareHigh });
          return spread === 0 ? Number.NaN : (facts[position() - 1] - sums[sum] / sums[count]) / spread;
        },
        bounds: () => [-Number.MAX_VALUE, Number.MAX_VALUE],
      },
    };
  },
};

export const sumRatio: Aggregate = {
  name: 'sum-ratio',
  arguments: ['number', 'filter'],
  meaning: (events, field, filter) =>
    `the share of the sum of ${field} over ${events} that is of those that pass ${filter}`,
  noData: '0, absent: the sum is 0',
  exactness: 'as sum; no bounds by panes where values may be negative',
  retains: "the field's value, and a bit for the filter",
  cost: constant,
  example: 'sum-ratio(amount, declined)',
  plan(request) {
    const { builder, span, bit, fields, filters } = request;
    const part = builder.sum(span, fields[0], filters[1]);
    const whole = builder.sum(span, fields[0], bit);
    const summary = builder.summary({ type: 'number', field: fields[0] }, bit, false);
    return {
      total: whole,
      compute: {
        noData: 0,
        mayAppear: true,
        value: ({ sums }) => (sums[whole] === 0 ? Number.NaN : sums[part] / sums[whole]),
        bounds(inner, outer, cut) {
          const partMore = outer.sums[part] - inner.sums[part];
          const othersMore = outer.sums[whole] - inner.sums[whole] - partMore;
          const lowest = inner.sums[whole] + othersMore;
          const highest = inner.sums[whole] + partMore;
          const isNegative = inner.sums[part] < 0 || inner.sums[whole] < inner.sums[part];
          if (isNegative || cut.least(span, summary) < 0) return [-Number.MAX_VALUE, Number.MAX_VALUE];
          return [
            lowest === 0 ? 0 : inner.sums[part] / lowest,
            highest === 0 ? 0 : (inner.sums[part] + partMore) / highest,
          ];
        },
      },
    };
  },
};
