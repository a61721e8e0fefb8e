import type { Random } from '../runtime/random.ts';

/** Running totals of non-negative weights, for `drawWeighted`. */
export function cumulate(weights: ArrayLike<number>): Float64Array {
  const totals = new Float64Array(weights.length);
  let total = 0;
  for (let i = 0; i < weights.length; i++) totals[i] = total += weights[i];
  return totals;
}

/** An index with probability proportional to its weight. `totals` must not be empty. */
export function drawWeighted(totals: Float64Array, random: Random): number {
  const wanted = random.next() * totals[totals.length - 1];
  let low = 0;
  let high = totals.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (totals[middle] > wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}

export const chance = (probability: number, random: Random): boolean => random.next() < probability;

/** Uniform integer, both ends included. */
export const between = (low: number, high: number, random: Random): number => low + random.below(high - low + 1);

export const uniform = (low: number, high: number, random: Random): number => low + (high - low) * random.next();

/** Log-normal with the given median and standard deviation of the logarithm. */
export const logNormal = (median: number, spread: number, random: Random): number =>
  median * Math.exp(spread * random.normal());

/**
 * A number in [0, 1) that follows from the text alone (FNV-1a with the finaliser of MurmurHash3): for what is drawn once and holds for
 * good, and for what must not take from the numbers that others are made of.
 */
export function drawnFrom(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

export const oneOf = <T>(values: readonly T[], random: Random): T => values[random.below(values.length)];

/**
 * Identifiers that look random and never repeat: serial numbers through a bijection of 32 bits (the finaliser of
 * MurmurHash3), so a stream may hold 2^32 of each prefix. Nothing about an entity shows in its identifier.
 */
export function createIds(seed: number): (prefix: string) => string {
  const serials = new Map<string, number>();
  return (prefix) => {
    const serial = serials.get(prefix) ?? 0;
    serials.set(prefix, serial + 1);
    let z = (serial + Math.imul(seed, 0x9e3779b1) + Math.imul(prefix.charCodeAt(0), 0x7feb352d)) | 0;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return prefix + ((z ^ (z >>> 16)) >>> 0).toString(16).padStart(8, '0');
  };
}
