import { table } from '../../cli/table.ts';
import { breachesOf } from './allowance.ts';
import { faults } from './faults.ts';
import type { BrokenRound, RoundReport } from './round.ts';

export type Round = RoundReport | BrokenRound;

/** All rounds of one fault. Times are in ms, and absent where no round has any. */
export interface FaultSummary {
  readonly fault: string;
  readonly rounds: number;
  readonly failed: number;
  /** Transactions scored. */
  readonly events: number;
  readonly duplicates: number;
  /** The largest of any round. */
  readonly skippedShare?: number;
  /** Times without output, of partitions that it strikes and of the others. */
  readonly struckMs?: Spread;
  readonly othersMs?: Spread;
}

interface Spread {
  readonly median: number;
  readonly worst: number;
}

/** Why the round has failed, in sentences; empty: it has not. */
export function failuresOf(round: Round): readonly string[] {
  if ('error' in round) return [round.error];
  return [...round.problems, ...breachesOf(round, faults[round.fault].allowance)];
}

export function summarize(rounds: readonly Round[]): FaultSummary[] {
  return [...Map.groupBy(rounds, ({ fault }) => fault)].map(([fault, rounds]) => {
    const reports = rounds.filter((round): round is RoundReport => !('error' in round));
    const sum = (of: (report: RoundReport) => number) => reports.reduce((total, report) => total + of(report), 0);
    return {
      fault,
      rounds: rounds.length,
      failed: rounds.filter((round) => failuresOf(round).length > 0).length,
      events: sum(({ transactions }) => transactions),
      duplicates: sum(({ duplicates }) => duplicates),
      skippedShare: spread(reports.map(({ skipped, transactions }) => skipped / transactions))?.worst,
      struckMs: spread(reports.map(({ struckMs }) => struckMs)),
      othersMs: spread(reports.map(({ othersMs }) => othersMs)),
    };
  });
}

/** A line per fault, and what the failed rounds say with how to see them again. */
export function summaryText(rounds: readonly Round[]): string {
  const heads = ['fault', 'rounds', 'failed', 'events', 'duplicates', 'skipped, %'];
  const silences = ['struck, ms: median', 'worst', 'others, ms: median', 'worst'];
  const rows = summarize(rounds).map(({ fault, rounds, failed, events, duplicates, ...of }) => [
    ...[fault, rounds, failed, events, duplicates],
    of.skippedShare === undefined ? '' : Math.round(1000 * of.skippedShare) / 10,
    ...[of.struckMs?.median ?? '', of.struckMs?.worst ?? '', of.othersMs?.median ?? '', of.othersMs?.worst ?? ''],
  ]);
  const failed = rounds.flatMap((round) => failureText(round));
  return [table([...heads, ...silences], rows), ...failed].join('');
}

function failureText(round: Round): string[] {
  const failures = failuresOf(round);
  if (failures.length === 0) return [];
  const { fault, seed, perSecond } = round;
  const more = failures.length > 1 ? ` (and ${failures.length - 1} more)` : '';
  const again = `npm run chaos -- --faults ${fault} --round-seed ${seed} --rate ${perSecond}`;
  return [`\n${fault}: ${failures[0]}${more}\n  once more: ${again}\n`];
}

function spread(values: readonly (number | undefined)[]): Spread | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted.length === 0 ? undefined : { median: sorted[sorted.length >> 1], worst: sorted[sorted.length - 1] };
}
