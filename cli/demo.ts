import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { runJob } from '../consumers/job.ts';
import { systemClock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import { stopSignal } from '../runtime/stop-signal.ts';
import { writeLines } from '../simulator/file-output.ts';
import { simulateTransactions } from '../simulator/stream.ts';
import { jsonLine } from '../simulator/transaction.ts';
import { loadJobFrom, surroundingsOf } from './job-options.ts';
import { shown, summaryJson, summaryText } from './summary.ts';
import { wholeNumber } from './whole-number.ts';

interface Flags {
  readonly fresh?: boolean;
  readonly json?: boolean;
  readonly events: string;
  readonly seed: string;
}

const examples = `
Examples:
  $ weir demo
  $ weir demo --fresh --events 500000 --seed 42
  $ weir demo --fresh --json

Everything lies in .weir/demo (or the folder that WEIR_DEMO_DIR names). Ctrl-C stops cleanly; the next run goes on.`;

const configFile = join(import.meta.dirname, '..', 'examples', 'demo', 'weir.yaml');

/** `weir demo`, which is what `npm start` runs: a simulated stream through the whole pipeline, nothing else needed. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('score a simulated stream on this machine: no broker, no Redis')
    .option('--fresh', 'start over')
    .option('--json', 'print the summary as one JSON line')
    .option('--events <n>', 'how many transactions', '50000')
    .option('--seed <n>', 'seed of the simulation', '7')
    .addHelpText('after', examples)
    .action(demo);
}

async function demo(flags: Flags): Promise<void> {
  const folder = resolve(process.env.WEIR_DEMO_DIR || join('.weir', 'demo'));
  process.env.WEIR_DEMO_DIR = folder;
  if (flags.fresh) rmSync(folder, { recursive: true, force: true });
  const signal = stopSignal(systemClock);
  const isQuiet = flags.json === true;
  const events = await simulateOnce(folder, flags, signal, isQuiet ? () => {} : note);
  if (events === undefined) return;
  const job = loadJobFrom({ config: configFile, set: ['log.level=warn'] });
  const bar = new SingleBar({
    stream: process.stderr,
    format: '{bar} {percentage}% | {value}/{total} transactions',
    noTTYOutput: false,
    clearOnComplete: true,
    hideCursor: true,
  });
  const showsBar = !isQuiet && process.stderr.isTTY === true;
  try {
    if (showsBar) {
      // A second Ctrl-C ends the process here and now: the terminal gets its cursor back all the same.
      process.once('exit', () => bar.stop());
      bar.start(events, 0);
    }
    const summary = await runJob(job, {
      ...surroundingsOf(job),
      untilEnd: true,
      signal,
      onBatch: ({ records }) => {
        if (showsBar) bar.increment(records);
      },
    });
    if (showsBar) bar.stop();
    if (isQuiet) process.stdout.write(`${summaryJson(summary, job.config)}\n`);
    else process.stdout.write(`${summaryText(summary, job.config)}${whatNext(summary.events, signal.aborted, folder)}`);
  } finally {
    if (showsBar) bar.stop();
  }
}

/** Makes the stream unless it is there. @returns how many transactions it has; undefined when it was stopped half-way. */
async function simulateOnce(
  folder: string,
  flags: Flags,
  signal: AbortSignal,
  tell: (text: string) => void,
): Promise<number | undefined> {
  const events = wholeNumber('--events', flags.events, 1, 1_000_000_000);
  const seed = wholeNumber('--seed', flags.seed, 0, 2 ** 32 - 1);
  const path = join(folder, 'transactions.jsonl');
  const notePath = join(folder, 'simulation.json');
  const wanted = JSON.stringify({ seed, events });
  if (existsSync(notePath)) {
    const made = readFileSync(notePath, 'utf8');
    if (made !== wanted) {
      throw new WeirError('CONFIG', `${relative('.', path)} was made with ${made}; --fresh starts over with ${wanted}`);
    }
    return events;
  }
  tell(`simulating ${events.toLocaleString('en-US')} card transactions (seed ${seed}) into ${relative('.', path)}`);
  mkdirSync(folder, { recursive: true });
  await writeLines(lines(seed, events, signal), `${path}.partial`);
  if (signal.aborted) return undefined;
  renameSync(`${path}.partial`, path);
  writeFileSync(notePath, wanted);
  return events;
}

function* lines(seed: number, events: number, signal: AbortSignal): Generator<string> {
  for (const transaction of simulateTransactions({ seed, events })) {
    if (signal.aborted) return;
    yield jsonLine(transaction);
  }
}

function whatNext(scored: number, wasStopped: boolean, folder: string): string {
  const first = `head -n 1 ${shown(join(folder, 'risk.jsonl'))}`;
  if (wasStopped) return '\nStopped. The same command goes on from here.\n';
  if (scored === 0) return '\nNothing new: every transaction was scored before. --fresh starts over.\n';
  return `
Next
  ${first.padEnd(41)} one risk event
  examples/demo/weir.yaml                   the whole job: change a rule or a window,
                                            then npm start -- --fresh
  npm run weir -- --help                    all commands
  README.md                                 the same with Kafka and Redis
`;
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
