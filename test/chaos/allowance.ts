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
/** After it a silent partition has looked whether its state is still there. */
const noticeMs = 10_000;
/** `state.redis.command_timeout_ms`: so long a call waits for an answer. */
const commandMs = 3_000;
/** Waits of a partition that tries again: each twice the one before. */
const firstWaitMs = 500;
const longestWaitMs = 2_000;
/** `sink.kafka.transaction_timeout_ms`: so long a transaction blocks its successor whose end the brokers have not come to know. */
const transactionMs = 20_000;
/** A dead broker is missed after 3 s (`broker.session.timeout.ms`), and clients give it up after a session. */
const electionMs = 3_000 + sessionMs + settleMs;

/** Somebody is missed after a session, and only what it had waits. Marks are given while that is taken over, a second of a round of ten or more. */
export const takeOver: Allowance = {
  skippedShare: 0.15,
  silence: () => ({ struckMs: sessionMs + settleMs, othersMs: settleMs }),
};

/** The same where the others wait for what is not taken over yet, and then until it has got on. A partition that is waited for is not marked but for its take-over. */
export const alignedTakeOver: Allowance = {
  skippedShare: 0.1,
  silence: () => ({ struckMs: sessionMs + settleMs, othersMs: sessionMs + 2 * settleMs }),
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

/** Waits double, so the one that a fault ends in is about as long as the fault so far. */
const backAfterMs = (faultMs: number) => faultMs + Math.min(longestWaitMs, faultMs + firstWaitMs) + settleMs;

/** Nobody gets on before it is over; then connections are made anew and nothing is lost. */
export const pause: Allowance = {
  skippedShare: 0.25,
  silence: (faultMs) => ({ struckMs: backAfterMs(faultMs), othersMs: settleMs }),
};

/** The same for half a minute: three quarters of a round are its backlog, in which partitions come to be days of event time apart. */
export const longPause: Allowance = { ...pause, skippedShare: 0.75 };

/** All state is made anew; who has made its own goes on, and marks what the others have not made yet, half of a round at most. */
export const loss: Allowance = {
  skippedShare: 0.5,
  silence: (faultMs) => ({ struckMs: backAfterMs(faultMs) + rebuildMs, othersMs: settleMs }),
};

/** The same where partitions wait for each other: one that waits is silent, and may be the last to notice that its state is gone. */
export const alignedLoss: Allowance = {
  skippedShare: 0.25,
  silence: (faultMs) => ({ struckMs: backAfterMs(faultMs) + noticeMs + rebuildMs, othersMs: settleMs }),
};

/** Scoring goes on; it pauses only to notice that the store is away, and to make the state anew when it is back. */
export const degradation: Allowance = {
  skippedShare: 0.75,
  silence: () => ({ struckMs: commandMs + rebuildMs, othersMs: settleMs }),
};

/** Leaders move to brokers that live; a transaction whose coordinator or partitions were on the one that died may have to time out first. */
export const election: Allowance = {
  // While one partition waits for that, the others mark what they share with it.
  skippedShare: 0.5,
  silence: () => ({ struckMs: transactionMs + electionMs, othersMs: electionMs }),
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
