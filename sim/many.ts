import { Worker } from 'node:worker_threads';
import type { SeedReport, Share } from './share.ts';
import { mutantsOf, type Simulation } from './simulations.ts';

/** Runs the share in a thread; resolves when it has ended. */
function runShare(share: Share, onReport: (report: SeedReport) => void): Promise<void> {
  const worker = new Worker(new URL('./share.ts', import.meta.url), { workerData: share });
  return new Promise((resolve, reject) => {
    worker.on('message', onReport);
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
}

/** A thread keeps what runs leave behind, a megabyte each: after thousands it was at half its speed. */
const seedsOfThread = 250;

export interface Range {
  readonly simulation: Simulation;
  readonly from: number;
  readonly count: number;
  /** Threads. */
  readonly jobs: number;
}

/** @returns the seeds that failed, the least first. */
export async function runSeeds(
  { simulation, from, count, jobs }: Range,
  onReport: (report: SeedReport) => void,
): Promise<SeedReport[]> {
  const failed: SeedReport[] = [];
  const told = (report: SeedReport) => {
    if (report.failure !== undefined) failed.push(report);
    onReport(report);
  };
  async function runJob(job: number): Promise<void> {
    const end = from + count;
    for (let next = from + job; next < end; next += seedsOfThread * jobs) {
      await runShare({ simulation, from: next, to: Math.min(end, next + seedsOfThread * jobs), step: jobs }, told);
    }
  }
  await Promise.all(Array.from({ length: jobs }, (_, job) => runJob(job)));
  return failed.sort((a, b) => a.seed - b.seed);
}

export interface Caught {
  readonly mutant: string;
  /** The first seed that fails with it; undefined: none does, it goes unnoticed. */
  readonly report: SeedReport | undefined;
}

/** Looks for the seed that catches each mutant, so many at most. */
export async function runMutants(
  { simulation, from, count, jobs }: Range,
  onCaught: (caught: Caught) => void,
): Promise<Caught[]> {
  const left = [...mutantsOf[simulation]];
  const all: Caught[] = [];
  async function takeOne(): Promise<void> {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      let caughtBy: SeedReport | undefined;
      const { name, firstSeed = from } = mutant;
      const first = Math.max(from, firstSeed);
      await runShare({ simulation, from: first, to: first + count, step: 1, mutant: name }, (report) => {
        if (report.failure !== undefined) caughtBy ??= report;
      });
      const caught = { mutant: name, report: caughtBy };
      all.push(caught);
      onCaught(caught);
    }
  }
  await Promise.all(Array.from({ length: jobs }, takeOne));
  return all;
}
