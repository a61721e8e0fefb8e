import { circleUnit, timeOfDay } from '../circle.ts';
import { kilometresBetween } from '../geography.ts';
import { type Fact, noFact } from '../plan-builder.ts';
import type { Aggregate } from './aggregate.ts';

export const streak: Aggregate = {
  name: 'streak',
  arguments: ['filter'],
  meaning: (events, filter) => `how many of the newest of ${events} in a row pass ${filter}`,
  notes: 'Events at the very time of the one that breaks the streak do not count.',
  noData: '0',
  exactness: 'exact; by panes between its bounds',
  retains: 'a bit for the filter',
  cost: 'back to the event that breaks the streak',
  example: 'streak(declined)',
  plan({ builder, span, bit, filters }) {
    const slot = builder.walk(span, 'streak', noFact, bit, filters[0]);
    const count = builder.count(span, filters[0]);
    return {
      slot,
      compute: {
        noData: 0,
        value: ({ walked }) => walked[slot],
        bounds: (inner, outer) => [Math.min(inner.walked[slot], outer.walked[slot]), outer.sums[count]],
      },
    };
  },
};

const hourMs = 3_600_000;
/** Two places in less than a second are taken for one second apart. */
const leastHours = 1000 / hourMs;

export const speed: Aggregate = {
  name: 'speed',
  arguments: ['number', 'number'],
  meaning: (events, latitude, longitude) =>
    `the speed in km/h from the place (${latitude}, ${longitude}) of the newest of ${events} that has one to the current event's`,
  notes:
    'Along the great circle (haversine, R. W. Sinnott, Sky and Telescope 68, 1984). Latitude and longitude are in degrees, and kept to 5 decimals; at least a second is taken to have passed. Of several places at the same time the one furthest north, then east, counts.',
  noData: '0, absent: the event or the history has no place',
  exactness: 'exact to the place; no bounds by panes',
  retains: 'the place, 7 bytes',
  cost: 'back to the newest event that has a place',
  example: 'speed(latitude, longitude)',
  excludesCurrent: true,
  plan(request) {
    const { builder, span, bit, fields } = request;
    const fact: Fact = { type: 'place', field: fields[0], longitude: fields[1] };
    const slot = builder.walk(span, 'last', fact, bit);
    const position = builder.position(fact);
    const present = [request.present(0), request.present(1)];
    return {
      compute: {
        noData: 0,
        value({ walked, facts, time }) {
          const isPlaced = present.every((wanted) => wanted === 0 || (facts[0] & wanted) !== 0);
          if (!isPlaced || !Number.isFinite(walked[slot])) return Number.NaN;
          const hours = Math.max(leastHours, (time - walked[slot]) / hourMs);
          return kilometresBetween(walked[slot + 1], facts[position() - 1]) / hours;
        },
        bounds: () => [0, Number.MAX_VALUE],
      },
    };
  },
};

/**
 * Concentration of a von Mises distribution by its mean resultant length: the approximation of D. J. Best and N. I. Fisher,
 * Communications in Statistics 10(5), 1981, as in N. I. Fisher, Statistical Analysis of Circular Data, 1993, (4.40).
 */
export function concentration(length: number): number {
  if (length < 0.53) return 2 * length + length ** 3 + (5 * length ** 5) / 6;
  if (length < 0.85) return -0.4 + 1.39 * length + 0.43 / (1 - length);
  return 1 / (length ** 3 - 4 * length ** 2 + 3 * length);
}

export const hourDeviation: Aggregate = {
  name: 'hour-deviation',
  arguments: [],
  meaning: (events) =>
    `how unusual the current event's time of day (UTC) is against that of ${events}, from 0 (the usual one) to 1`,
  notes:
    '1 - f(t) / f(m), f being the density of the von Mises distribution that the window gives and m its mean (A. C. Bahnsen et al., Feature engineering strategies for credit card fraud detection, Expert Systems with Applications 51, 2016; concentration by Best and Fisher, 1981). Times count by the minute; the mean resultant length is taken to be 0.999 at most, since events of one minute would concentrate without limit.',
  noData: '0, absent: fewer than two events',
  exactness: 'by the minute; a function of exact sums; between 0 and 1 by panes',
  retains: 'nothing',
  cost: 'constant',
  example: 'hour-deviation',
  excludesCurrent: true,
  plan({ builder, span, bit }) {
    const cosine = builder.circle(span, bit);
    const count = builder.count(span, bit);
    return {
      compute: {
        noData: 0,
        value({ sums, time }) {
          if (sums[count] < 2) return Number.NaN;
          const [x, y] = [sums[cosine] / circleUnit, sums[cosine + 1] / circleUnit];
          const resultant = Math.sqrt(x * x + y * y);
          if (resultant === 0) return 0;
          // Events that all fall on the same minute would concentrate without limit.
          const kappa = concentration(Math.min(0.999, resultant / sums[count]));
          const [c, s] = [timeOfDay('cosine', time) / circleUnit, timeOfDay('sine', time) / circleUnit];
          const towardsMean = Math.min(1, (c * x + s * y) / resultant);
          return 1 - Math.exp(kappa * (towardsMean - 1));
        },
        bounds: () => [0, 1],
      },
    };
  },
};
