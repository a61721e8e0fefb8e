import { leaseMutants } from './leases/mutants.ts';
import { type Mutant, mutants } from './mutants.ts';

/** The whole pipeline between Kafka and Redis, or the workers that share a Kinesis stream through their lease table. */
export type Simulation = 'pipeline' | 'leases';

export const mutantsOf: Readonly<Record<Simulation, readonly Mutant[]>> = { pipeline: mutants, leases: leaseMutants };

type RunSeed = (
  seed: number,
  options?: { readonly trace?: (line: string) => void },
) => Promise<{ readonly failure: string | undefined }>;

/** Loads what is simulated: a mutant has to be installed before. */
export async function loadSimulation(simulation: Simulation): Promise<RunSeed> {
  return (simulation === 'leases' ? await import('./leases/run.ts') : await import('./run.ts')).runSeed;
}
