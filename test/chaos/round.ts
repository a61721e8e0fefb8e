import { bruteForce } from './brute-force.ts';
import { type Fault, faults } from './faults.ts';
import type { Ground } from './ground.ts';
import { type Mode, startTrial, type Trial } from './trial.ts';
import { faultsOf, isSkipped, type Outage, type Published, readPublished } from './verify.ts';

/** What became of one fault. */
export interface RoundReport {
  readonly fault: string;
  readonly seed: number;
  readonly perSecond: number;
  readonly transactions: number;
  readonly deadLetters: number;
  /** Records that came a second time in the input. */
  readonly repeated: number;
  /** Risk events beyond the first of their records, with the same ids: only at-least-once may have any. */
  readonly duplicates: number;
  /** Risk events with a feature that says it may lack something, which is not compared or only with its bounds. */
  readonly skipped: number;
  readonly faultMs: number;
  /** Longest time without output from the fault on, of the partitions that it strikes and of the others. Absent where there are none. */
  readonly struckMs?: number;
  readonly othersMs?: number;
  /** What is wrong with the output; empty: nothing. */
  readonly problems: readonly string[];
}

/** A round that was not judged, since something in it did not come to pass. */
export interface BrokenRound extends Pick<RoundReport, 'fault' | 'seed' | 'perSecond'> {
  readonly error: string;
}

export interface RoundOptions {
  readonly fault: string;
  readonly seed: number;
  /** Makes the topics' names unique on the ground. */
  readonly serial: number;
  readonly perSecond: number;
}

const members = 2;

/** A job under load, one fault, and the judgement on all that came out. */
export async function runRound(ground: Ground, { fault, seed, serial, perSecond }: RoundOptions): Promise<RoundReport> {
  const { mode, run } = faults[fault];
  const trial = await startTrial(ground, { name: `${fault}-${serial}`, seed, mode, members, perSecond });
  let times: Times;
  try {
    times = await strike(trial, run, mode);
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
    perSecond,
    transactions: wanted.events.size,
    deadLetters: wanted.deadLetters.size,
    repeated: wanted.repeats.size,
    duplicates: published.length - new Set(published.map(({ partition, offset }) => `${partition}:${offset}`)).size,
    skipped: published.filter(isSkipped).length,
    faultMs: Math.round(times.to - times.from),
    ...gaps(published, times),
    problems: faultsOf(wanted, published, await ground.kafka.readCommitted(dead), mode, times.outage),
  };
}

interface Times {
  readonly from: number;
  readonly to: number;
  readonly struck: readonly number[];
  /** Only where the job goes on without its store. */
  readonly outage?: Outage;
}

/** Lets it happen at a moment that the seed draws, and goes on for a while after it. */
async function strike(trial: Trial, run: Fault['run'], { whenAway }: Mode): Promise<Times> {
  await trial.progress(1000 + trial.random.below(1000));
  const before = await trial.positions();
  const from = Date.now();
  const struck = await run(trial);
  const to = Date.now();
  const after = await trial.positions();
  await trial.progress(2000);
  if (whenAway !== 'degrade') return { from, to, struck };
  return { from, to, struck, outage: new Map([...after].map(([p, end]) => [p, [before.get(p) ?? 0, end]])) };
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
