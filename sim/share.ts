import { parentPort, workerData } from 'node:worker_threads';
import { install } from './mutants.ts';
import { loadSimulation, mutantsOf, type Simulation } from './simulations.ts';

/** Every so many of the seeds, in a thread of its own. */
export interface Share {
  readonly simulation: Simulation;
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

const { simulation, from, to, step, mutant } = workerData as Share;
const mutants = mutantsOf[simulation];
const assertMade = mutant === undefined ? undefined : install(mutants.find(({ name }) => name === mutant)!);
// Loaded after the mutant's edits are in place.
const runSeed = await loadSimulation(simulation);
assertMade?.();
for (let seed = from; seed < to; seed += step) {
  const { failure } = await runSeed(seed);
  parentPort!.postMessage({ seed, failure } satisfies SeedReport);
  if (mutant !== undefined && failure !== undefined) break;
}
