import { type Command, Option } from 'commander';
import { deadLetterReasons } from '../consumers/dead-letter-schema.ts';
import type { LetterSelection } from '../consumers/dead-letters.ts';
import { WeirError } from '../runtime/errors.ts';
import { timeOption } from './time-option.ts';
import { wholeNumber } from './whole-number.ts';

export interface SelectionFlags {
  readonly reason: readonly string[];
  readonly partition?: string;
  readonly offset?: string;
  readonly since?: string;
}

/** The options by which dead letters are selected. */
export function withSelection(command: Command): Command {
  return command
    .addOption(
      new Option('--reason <reason>', 'only letters of this reason; may be repeated')
        .argParser((value: string, before: string[]) => [...before, value])
        .default([], 'any'),
    )
    .option('--partition <n>', 'only records that were read from this partition')
    .option('--offset <n>', 'with --partition: only the record of this offset')
    .option('--since <time>', 'only letters written at this time or later, ISO 8601 with its zone, or ms since 1970');
}

/** @throws WeirError CONFIG */
export function selectionOf({ reason, partition, offset, since }: SelectionFlags): LetterSelection {
  if (offset !== undefined && partition === undefined) {
    throw new WeirError('CONFIG', '--offset goes with --partition: offsets are of a partition');
  }
  const unknown = reason.find((name) => !Object.hasOwn(deadLetterReasons, name));
  if (unknown !== undefined) {
    const known = Object.keys(deadLetterReasons).join(', ');
    throw new WeirError('CONFIG', `no dead letter has the reason "${unknown}": the reasons are ${known}`);
  }
  return {
    reasons: reason.length === 0 ? undefined : reason,
    partition: partition === undefined ? undefined : wholeNumber('--partition', partition, 0, 1e6),
    offset: offset === undefined ? undefined : wholeNumber('--offset', offset, 0, Number.MAX_SAFE_INTEGER),
    since: since === undefined ? undefined : timeOption('--since', since),
  };
}

/**
 * What to say where no letter is selected.
 * @param letters how many there are.
 * @throws WeirError INPUT where one letter was named.
 */
export function noneSelected({ partition, offset, ...more }: LetterSelection, letters: number): string {
  if (offset !== undefined) {
    const isFiltered = more.reasons !== undefined || more.since !== undefined;
    throw missingLetter(partition!, offset, isFiltered ? ' that --reason and --since take' : '');
  }
  return letters === 0
    ? 'No dead letters.\n'
    : `None of the ${letters.toLocaleString('en-US')} dead letters matches.\n`;
}

export function missingLetter(partition: number, offset: number, which = ''): WeirError {
  return new WeirError(
    'INPUT',
    `there is no dead letter of partition ${partition}, offset ${offset}${which}: weir dlq list has all`,
  );
}
