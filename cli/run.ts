import { Command } from 'commander';
import { runJob } from '../consumers/job.ts';
import { startHttp } from '../runtime/http.ts';
import { processIndex } from '../runtime/process-name.ts';
import { stopSignal } from '../runtime/stop-signal.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { readyTeller, superviseProcesses } from './processes.ts';
import { summaryJson, summaryText } from './summary.ts';
import { wholeNumber } from './whole-number.ts';

interface Flags extends JobFlags {
  readonly untilEnd?: boolean;
  readonly json?: boolean;
  readonly processes: string;
}

const examples = `
Examples:
  $ weir run --config examples/kafka/weir.yaml
  $ weir run --config examples/kafka/weir.yaml --processes 2
  $ weir run --config examples/kafka/weir.yaml --until-end --set source.kafka.topic=payments
  $ HANDBOOK_CSV=transactions.csv.gz weir run --config examples/handbook/weir.yaml --until-end --json

SIGTERM or Ctrl-C drains: the batch under way is finished, published and flushed, then the group is left. A second
signal ends the process at once; nothing is lost by that either. Exit codes: docs/operations.md.`;

/** `weir run`: scores a stream. */
export function runCommand(): Command {
  return withJobOptions(new Command('run').description('score a stream of transactions'))
    .option('--until-end', "stop at the input's present end (a file always does)")
    .option('--json', 'at the end, print the summary as one JSON line')
    .option('--processes <n>', 'run so many processes that share the partitions', '1')
    .addHelpText('after', examples)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const processes = wholeNumber('--processes', flags.processes, 1, 256);
  const surroundings = surroundingsOf(job, readyTeller());
  if (processes > 1) return superviseProcesses(job, processes, surroundings);

  const { clock, log, metrics, readiness } = surroundings;
  const { config, set } = job;
  const signal = stopSignal(clock);
  const { port = 0, host = '' } = config.metrics ?? {};
  const address = { port: port === 0 ? 0 : port + processIndex(), host };
  const http =
    config.metrics === undefined ? undefined : await startHttp(address, metrics, readiness, { clock, log, signal });
  try {
    const details = { features: set.names.length, recipe: set.recipe, policy: job.policy.version };
    log.info({ ...details, metrics_port: http?.port, node: process.version }, 'starting');
    const summary = await runJob(job, { ...surroundings, untilEnd: flags.untilEnd === true, signal });
    const { events, published, deadLetters, seconds } = summary;
    log.info({ events, published, dead_letters: deadLetters, seconds: Math.round(seconds) }, 'stopped');
    const isOver = flags.untilEnd === true || config.source.file !== undefined;
    if (flags.json) process.stdout.write(`${summaryJson(summary, config)}\n`);
    else if (isOver) process.stdout.write(summaryText(summary, config));
  } finally {
    await http?.close();
  }
}
