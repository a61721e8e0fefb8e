#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { describeError, WeirError } from '../runtime/errors.ts';
import { backfillCommand } from './backfill.ts';
import { checkCommand } from './check.ts';
import { demoCommand } from './demo.ts';
import { dlqCommand } from './dlq.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { featuresCommand } from './features.ts';
import { fleetCommand } from './fleet.ts';
import { inspectCommand } from './inspect.ts';
import { offsetsCommand } from './offsets.ts';
import { runCommand } from './run.ts';
import { simulateCommand } from './simulate.ts';

const program = new Command('weir')
  .description('Scores card transactions for fraud while they happen.')
  .version(version(), '-V, --version')
  .addHelpText('after', '\nEach command has examples: weir run --help')
  .showHelpAfterError('(--help lists the options)')
  .exitOverride();
for (const command of [
  demoCommand(),
  runCommand(),
  backfillCommand(),
  checkCommand(),
  simulateCommand(),
  featuresCommand(),
  inspectCommand(),
  fleetCommand(),
  offsetsCommand(),
  dlqCommand(),
]) {
  program.addCommand(command);
  inherit(command, program);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitCodes.CONFIG;
  else {
    const isOurs = error instanceof WeirError;
    process.stderr.write(`weir: ${isOurs ? error.message : describeError(error)}\n`);
    if (!isOurs && error instanceof Error) process.stderr.write(`${error.stack}\nThis is a bug in weir.\n`);
    process.exitCode = exitCodeOf(error);
  }
}

// The command is over: all is published, flushed and closed. A broker's socket that the Kafka client opens again after it was told to
// disconnect (it does when the broker restarted in between) must not keep the process from ending. What a slow reader of the output has
// not taken yet must not be lost with it.
if (process.stdout.writableLength > 0) {
  await new Promise((resolve) => process.stdout.once('error', resolve).write('', resolve));
}
process.exit();

function inherit(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
}

/** From package.json, which lies one folder up in the sources and two in the published package. */
function version(): string {
  for (const up of ['..', join('..', '..')]) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(import.meta.dirname, up, 'package.json'), 'utf8')) as {
        name: string;
        version: string;
      };
      if (name === 'weir') return version;
    } catch {
      // Not in this folder.
    }
  }
  return 'unknown';
}
