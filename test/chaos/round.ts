import { bruteForce } from './brute-force.ts';
import { type Fault, faults } from './faults.ts';
import type { Ground } from './ground.ts';
import { startTrial, type Trial } from './trial.ts';
import { faultsOf, type Published, readPublished } from './verify.ts';

/** What became of one fault; printed as a JSON line. */
export interface RoundReport {
  readonly fault: string;
  readonly seed: number;
  readonly transactions: number;
  readonly deadLetters: number;
  /** Records that came a second time in the input. */
  readonly repeated: number;
  /** Risk events beyond the first of their records: only at-least-once may have any. */
  readonly duplicates: number;
  /** Risk events with a delayed feature of a shared entity that says it may lack something: those are not compared. */
  readonly stale: number;
  readonly faultMs: number;
  /** Longest time without output from the fault on, of the partitions that it strikes and of the others. Absent where there are none. */
  readonly struckMs?: number;
  readonly othersMs?: number;
  /** What is wrong with the output; empty: nothing. */
  readonly problems: readonly string[];
}

export interface RoundOptions {
  readonly fault: string;
  readonly seed: number;
  /** Makes the topics' names unique on the ground. */
  readonly serial: number;
  readonly perSecond: number;
}

const members = 2;
const delayedFeature = 'terminal.count.24h.delay-2d';

/** A job under load, one fault, and the judgement on all that came out. */
export async function runRound(ground: Ground, { fault, seed, serial, perSecond }: RoundOptions): Promise<RoundReport> {
  const { mode, run } = faults[fault];
  const trial = await startTrial(ground, { name: `${fault}-${serial}`, seed, mode, members, perSecond });
  let times: Times;
  try {
    times = await strike(trial, run);
    await trial.finish();
  } finally {
    ground.heal();
    await trial.abandon();
  }
  const { input, scored, dead } = trial.topics;
  const wanted = bruteForce(await ground.kafka.readCommitted(input));
  const published = readPublished(await ground.kafka.readCommitted(scored));
  return {
    fault,
    seed,
    transactions: wanted.events.size,
    deadLetters: wanted.deadLetters.size,
    repeated: wanted.repeated,
    duplicates: published.length - wanted.events.size,
    stale: published.filter(({ data }) => data.feature_state[delayedFeature] === 'stale').length,
    faultMs: Math.round(times.to - times.from),
    ...gaps(published, times),
    problems: faultsOf(wanted, published, await ground.kafka.readCommitted(dead), mode),
  };
}

interface Times {
  readonly from: number;
  readonly to: number;
  readonly struck: readonly number[];
}

/** Lets it happen at a moment that the seed draws, and goes on for a while after it. */
async function strike(trial: Trial, run: Fault['run']): Promise<Times> {
  await trial.progress(1000 + trial.random.below(1000));
  const from = Date.now();
  const struck = await run(trial);
  const to = Date.now();
  await trial.progress(2000);
  return { from, to, struck };
}

/** Longest times between two outputs of an input partition, the later of which came after the fault's beginning. */
function gaps(published: readonly Published[], { from, struck }: Times): Pick<RoundReport, 'struckMs' | 'othersMs'> {
  const last = new Map<number, number>();
  const longest = new Map<number, number>();
  for (const { partition, timestamp } of [...published].sort((a, b) => a.timestamp - b.timestamp)) {
    const gap = timestamp - Math.max(from, last.get(partition) ?? timestamp);
    last.set(partition, timestamp);
    longest.set(partition, Math.max(gap, longest.get(partition) ?? 0));
  }
  const most = (isMeant: (partition: number) => boolean) => {
    const of = [...longest].flatMap(([partition, gap]) => (isMeant(partition) ? [gap] : []));
    return of.length === 0 ? undefined : Math.max(...of);
  };
  return {
    struckMs: most((partition) => struck.includes(partition)),
    othersMs: most((partition) => !struck.includes(partition)),
  };
}
