import { type Command, CommanderError } from 'commander';
import { exitCodeOf, exitCodes } from '../../cli/exit-codes.ts';
import { WeirError } from '../../runtime/errors.ts';

/** Runs a command of the repository as `weir` runs its own, and ends the process: with 2 when the command line is wrong. */
export async function runCommand(command: Command): Promise<never> {
  command.showHelpAfterError('(--help lists the options)').exitOverride();
  try {
    await command.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitCodes.CONFIG;
    else {
      process.stderr.write(
        `${command.name()}: ${error instanceof WeirError ? error.message : (error as Error).stack}\n`,
      );
      process.exitCode = exitCodeOf(error);
    }
  }
  // A client of a broker that was killed may keep a socket open that nobody waits for.
  process.exit();
}
