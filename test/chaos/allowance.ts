import type { RoundReport } from './round.ts';

/** What a round may cost: more of it, and the round has failed though all output is right. */
export interface Allowance {
  /** Largest share of risk events that may be skipped in the comparison. */
  readonly skippedShare: number;
  /** Longest times without output, ms, of partitions that the fault strikes and of the others, after a fault that lasted so long. */
  silence(faultMs: number): { readonly struckMs: number; readonly othersMs: number };
}

/** `source.kafka.session_timeout_ms` in weir.yaml: so long a dead process is not missed. */
const sessionMs = 5_000;
/** To share partitions out anew, find the position and the fence, and apply again what one flush interval had not stored. */
const settleMs = 1_000;
/** To apply the log again, some thousands of records of which 7,000 a second were the fewest measured, and to notice that it is to be done. */
const rebuildMs = 3_000;
/** For the brokers to choose leaders and coordinators, and for clients to find them. */
const electionMs = 10_000;

/** Somebody is missed after a session, and only what it had waits. Marks are given while that is taken over, a second of a round of ten or more. */
export const takeOver: Allowance = {
  skippedShare: 0.1,
  silence: () => ({ struckMs: sessionMs + settleMs, othersMs: settleMs }),
};

/** The same where the others wait for what is not taken over yet. A partition that is waited for is not marked but for its take-over. */
export const alignedTakeOver: Allowance = {
  skippedShare: 0.1,
  silence: () => ({ struckMs: sessionMs + settleMs, othersMs: sessionMs + settleMs }),
};

/** Partitions are handed over at once, several times in a round; each time the process that gains some marks what it has not read yet. */
export const handOver: Allowance = {
  skippedShare: 0.25,
  silence: () => ({ struckMs: 2 * settleMs, othersMs: settleMs }),
};

/** Take-overs one after another before the group has settled: none is waited out, so a partition may wait through all of them. */
export const manyTakeOvers: Allowance = {
  skippedShare: 0.5,
  silence: (faultMs) => ({ struckMs: faultMs + sessionMs + settleMs, othersMs: settleMs }),
};

/** Nobody gets on before it is over; then connections are made anew and nothing is lost. */
export const pause: Allowance = {
  skippedShare: 0.25,
  silence: (faultMs) => ({ struckMs: faultMs + sessionMs + settleMs, othersMs: settleMs }),
};

/** All state is made anew; who has made its own goes on, and marks what the others have not made yet, half of a round at most. */
export const loss: Allowance = {
  skippedShare: 0.5,
  silence: (faultMs) => ({ struckMs: faultMs + rebuildMs, othersMs: settleMs }),
};

/** Scoring goes on; it pauses only to notice that the store is away, and to make the state anew when it is back. */
export const degradation: Allowance = {
  skippedShare: 0.75,
  silence: () => ({ struckMs: rebuildMs, othersMs: settleMs }),
};

/** Leaders move to brokers that live, which go on long before the one that is away is back. */
export const election: Allowance = {
  skippedShare: 0.25,
  silence: () => ({ struckMs: electionMs + sessionMs + settleMs, othersMs: electionMs + sessionMs + settleMs }),
};

/** What the round has cost beyond its allowance, in sentences; empty: nothing. */
export function breachesOf(report: RoundReport, { skippedShare, silence }: Allowance): string[] {
  const { struckMs, othersMs } = silence(report.faultMs);
  const share = report.skipped / report.transactions;
  const breaches: string[] = [];
  if (!(share <= skippedShare)) {
    const parts = `${report.skipped} of ${report.transactions} events`;
    breaches.push(`${parts} were skipped in the comparison, more than ${100 * skippedShare} %`);
  }
  const late = (who: string, ms: number | undefined, mostMs: number) => {
    if (ms !== undefined && ms > mostMs)
      breaches.push(`${who} were without output for ${ms} ms, longer than ${mostMs} ms`);
  };
  late('partitions that it strikes', report.struckMs, struckMs);
  late('other partitions', report.othersMs, othersMs);
  return breaches;
}
