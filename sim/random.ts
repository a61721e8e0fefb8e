import { seededRandom } from '../runtime/random.ts';

/** Chance of one run; every part draws from a stream of its own, so that one drawing more does not change what others get. */
export interface Chance {
  /** Whole number in [least, most]. */
  between(least: number, most: number): number;
  /** Milliseconds in [least, most). */
  duration(least: number, most: number): number;
  /** True with the probability. */
  isTrue(probability: number): boolean;
  oneOf<T>(choices: readonly T[]): T;
  /** In [0, 1). */
  next(): number;
}

/** @param purpose names the stream. */
export function createChance(seed: number, purpose: string): Chance {
  let mixed = seed | 0;
  for (let k = 0; k < purpose.length; k++) mixed = (Math.imul(mixed, 31) + purpose.charCodeAt(k)) | 0;
  const random = seededRandom(mixed);
  const between = (least: number, most: number) => least + random.below(most - least + 1);
  return {
    between,
    duration: (least, most) => least + random.next() * (most - least),
    isTrue: (probability) => random.next() < probability,
    oneOf: (choices) => choices[random.below(choices.length)],
    next: random.next,
  };
}
