import { parentPort, workerData } from 'node:worker_threads';
import { runSeed } from './run.ts';

/** Every so many of the seeds, in a thread of its own. */
export interface Share {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

/** What it tells of each seed. */
export interface SeedReport {
  readonly seed: number;
  readonly failure: string | undefined;
}

const { from, to, step } = workerData as Share;
for (let seed = from; seed < to; seed += step) {
  const { failure } = await runSeed(seed);
  parentPort!.postMessage({ seed, failure } satisfies SeedReport);
}
