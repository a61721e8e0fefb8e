import { parentPort, workerData } from 'node:worker_threads';
import { install, mutants } from './mutants.ts';

/** Every so many of the seeds, in a thread of its own. */
export interface Share {
  readonly from: number;
  readonly to: number;
  readonly step: number;
  /** Name of the mutant that is run; it ends with the first seed that fails. */
  readonly mutant?: string;
}

/** What it tells of each seed. */
export interface SeedReport {
  readonly seed: number;
  readonly failure: string | undefined;
}

const { from, to, step, mutant } = workerData as Share;
const assertMade = mutant === undefined ? undefined : install(mutants.find(({ name }) => name === mutant)!);
// Loaded after the mutant's edits are in place.
const { runSeed } = await import('./run.ts');
assertMade?.();
for (let seed = from; seed < to; seed += step) {
  const { failure } = await runSeed(seed);
  parentPort!.postMessage({ seed, failure } satisfies SeedReport);
  if (mutant !== undefined && failure !== undefined) break;
}
