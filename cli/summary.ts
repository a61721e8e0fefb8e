import { relative } from 'node:path';
import type { JobConfig } from '../consumers/config.ts';
import type { JobSummary, RiskyTransaction } from '../consumers/summary.ts';
import type { RiskEvent } from '../scoring/risk-event.ts';

/** Where the risk events of a job are: a path, a topic or a stream. */
function outputOf({ sink }: JobConfig): string {
  return sink.file?.path ?? sink.kafka?.topic ?? sink.kinesis!.stream;
}

function mediumOf({ sink }: JobConfig): string {
  return sink.file ? '' : sink.kafka ? ' (Kafka topic)' : ' (Kinesis stream)';
}

/** The summary for a script: one JSON object. */
export function summaryJson(summary: JobSummary, config: JobConfig): string {
  const { events, published, deadLetters, seconds, latencyMs, decisions } = summary;
  return JSON.stringify({
    events,
    published,
    dead_letters: deadLetters,
    seconds: round(seconds, 3),
    events_per_s: Math.round(rate(summary)),
    latency_ms: { p50: round(latencyMs.p50, 2), p99: round(latencyMs.p99, 2), p999: round(latencyMs.p999, 2) },
    decisions,
    output: outputOf(config),
  });
}

/** The summary for a person. */
export function summaryText(summary: JobSummary, config: JobConfig): string {
  const { published, deadLetters, latencyMs, late, repeats } = summary;
  const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  const lines = [
    `${count(published)} transactions scored in ${summary.seconds.toFixed(1)} s, ${count(Math.round(rate(summary)))} a second`,
    row(
      'latency',
      `p50 ${ms(latencyMs.p50)}, p99 ${ms(latencyMs.p99)}, p99.9 ${ms(latencyMs.p999)}, from read to published`,
    ),
    row('decisions', decisionsText(summary)),
    ...alertLines(summary),
    ...riskiestLines(summary.riskiest),
    row('output', `${shown(outputOf(config))}${mediumOf(config)}`),
  ];
  if (deadLetters > 0) {
    const { file, kafka, kinesis } = config.sink;
    const where = file ? shown(file.dead_letters) : (kafka ?? kinesis)!.dead_letters;
    lines.push(row('dead letters', `${count(deadLetters)}, each with its reason, in ${where}`));
  }
  if (repeats > 0) lines.push(row('repeated', `${count(repeats)} events repeat an earlier one and were left out`));
  if (late > 0) lines.push(row('late', `${count(late)} events were too old to be applied to the state`));
  return `${lines.join('\n')}\n`;
}

function decisionsText({ decisions, published }: JobSummary): string {
  return Object.entries(decisions)
    .map(([name, of]) => `${name} ${count(of)} (${share(of, published)})`)
    .join(', ');
}

function alertLines({ alerts, published }: JobSummary): string[] {
  if (alerts === undefined || published === 0) return [];
  const { truePositives, falsePositives, falseNegatives } = alerts;
  const raised = truePositives + falsePositives;
  const frauds = truePositives + falseNegatives;
  return [
    row(
      'alerts',
      `${count(raised)} (every decision but approve); precision ${share(truePositives, raised)}, ` +
        `recall ${share(truePositives, frauds)} of ${count(frauds)} labelled frauds`,
    ),
  ];
}

function riskiestLines(riskiest: readonly RiskyTransaction[]): string[] {
  return riskiest.map(({ transactionId, probability, decision, data }, index) =>
    row(
      index === 0 ? 'riskiest' : '',
      `${probability.toFixed(3)} ${decision.padEnd(9)} ${transactionId}  ${reasonsText(JSON.parse(data.toString()) as RiskEvent)}`,
    ),
  );
}

function reasonsText({ reasons }: RiskEvent): string {
  return reasons
    .map((reason) => (reason.type === 'rule' ? reason.name : `${reason.feature} ${round(reason.value, 2)}`))
    .join(', ');
}

const row = (name: string, text: string): string => `  ${name.padEnd(13)}${text}`;
const count = (value: number): string => value.toLocaleString('en-US');
const share = (part: number, whole: number): string => (whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`);
const rate = ({ published, seconds }: JobSummary): number => (seconds > 0 ? published / seconds : 0);
const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** A path as short as it can be typed from here. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') ? path : short;
}
