import type { RoundReport } from './round.ts';

/** The reports as a table, a line per fault: medians of the times without output, and what was wrong. */
export function summary(reports: readonly RoundReport[]): string {
  const lines = [['fault', 'rounds', 'transactions', 'without output: struck, ms', 'others, ms', 'problems']];
  for (const [fault, rounds] of Map.groupBy(reports, ({ fault }) => fault)) {
    const sum = (of: (report: RoundReport) => number) => rounds.reduce((total, report) => total + of(report), 0);
    lines.push([
      fault,
      String(rounds.length),
      String(sum(({ transactions }) => transactions)),
      median(rounds.map(({ struckMs }) => struckMs)),
      median(rounds.map(({ othersMs }) => othersMs)),
      String(sum(({ problems }) => problems.length)),
    ]);
  }
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => `${line.map((cell, column) => cell.padEnd(widths[column])).join('  ')}\n`).join('');
}

function median(values: readonly (number | undefined)[]): string {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted.length === 0 ? '' : String(sorted[sorted.length >> 1]);
}
