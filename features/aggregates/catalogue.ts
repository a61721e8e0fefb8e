import type { Aggregate } from './aggregate.ts';
import { hourDeviation, speed, streak } from './behaviour.ts';
import { burst, count, mean, ratio, stddev, sum, sumRatio, zScore } from './counts.ts';
import {
  distinct,
  first,
  isNew,
  last,
  max,
  min,
  sameCount,
  timeSinceFirst,
  timeSinceLast,
  topShare,
} from './values.ts';

/** Every aggregate that a config can name, in the order of the documentation. */
export const catalogue: readonly Aggregate[] = [
  count,
  sum,
  mean,
  min,
  max,
  stddev,
  distinct,
  topShare,
  first,
  last,
  timeSinceFirst,
  timeSinceLast,
  isNew,
  sameCount,
  ratio,
  sumRatio,
  burst,
  zScore,
  speed,
  hourDeviation,
  streak,
];
