import { varietyOf } from './beginning.ts';
import { simulateLeases } from './simulate.ts';

/** One fleet from one seed. @returns what must not happen and did, one a line; undefined when all held. */
export async function runSeed(
  seed: number,
  { trace }: { readonly trace?: (line: string) => void } = {},
): Promise<{ readonly failure: string | undefined }> {
  const { violations } = await simulateLeases({ seed, trace, ...varietyOf(seed) });
  return { failure: violations.length === 0 ? undefined : violations.join('\n') };
}
