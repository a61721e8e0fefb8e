import { Command } from 'commander';
import { wholeNumber } from '../../cli/whole-number.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { runCommand } from '../support/command.ts';
import { faults } from './faults.ts';
import { type Ground, type GroundKind, startGround } from './ground.ts';
import { runRound } from './round.ts';
import { failuresOf, type Round, summarize, summaryText } from './summary.ts';

/** `npm run chaos`: faults on real parts; docs/operations.md says what is judged. Exit code 1 when a round has failed. */
interface Flags {
  readonly seed: string;
  readonly minutes: string;
  readonly faults?: string;
  readonly rate: string;
  readonly roundSeed?: string;
}

const largestSeed = 2 ** 31 - 1;
const longestMinutes = 10_080;
const mostPerSecond = 10_000;
const shownFailures = 10;

const examples = `
Faults: ${Object.keys(faults).join(', ')}

Standard output has a JSON line per round, and at the end one per fault; standard error has the same as a table.

Examples:
  $ npm run chaos                                         each fault once
  $ npm run chaos -- --seed 7 --minutes 60                for an hour
  $ npm run chaos -- --faults kill,redis-lost             some of them
  $ npm run chaos -- --faults kill --round-seed 819632268 one round once more`;

interface Settings {
  readonly random: Random;
  readonly names: readonly string[];
  readonly minutes: number;
  readonly perSecond: number;
  readonly roundSeed?: number;
}

async function chaos(flags: Flags): Promise<void> {
  const settings = settingsOf(flags);
  const startedAt = performance.now();
  const isOver = () => performance.now() - startedAt > settings.minutes * 60_000;
  const rounds: Round[] = [];
  try {
    do await oncePerFault(settings, rounds, isOver);
    while (settings.roundSeed === undefined && !isOver());
  } finally {
    for (const summary of summarize(rounds)) print({ type: 'fault', ...summary });
    process.stderr.write(summaryText(rounds));
  }
  process.exitCode = rounds.every((round) => failuresOf(round).length === 0) ? 0 : 1;
}

function settingsOf(flags: Flags): Settings {
  const names = flags.faults?.split(',') ?? Object.keys(faults);
  for (const name of names) {
    if (Object.hasOwn(faults, name)) continue;
    throw new WeirError('CONFIG', `there is no fault "${name}"; there are ${Object.keys(faults).join(', ')}`);
  }
  if (flags.roundSeed !== undefined && names.length !== 1)
    throw new WeirError('CONFIG', '--round-seed needs --faults with the one fault of the round');
  return {
    names,
    random: seededRandom(wholeNumber('--seed', flags.seed, 0, largestSeed)),
    minutes: wholeNumber('--minutes', flags.minutes, 0, longestMinutes),
    perSecond: wholeNumber('--rate', flags.rate, 1, mostPerSecond),
    roundSeed: flags.roundSeed === undefined ? undefined : wholeNumber('--round-seed', flags.roundSeed, 0, largestSeed),
  };
}

/** Each fault once: those that want the same services together. A round that breaks leaves its services to nobody. */
async function oncePerFault(settings: Settings, rounds: Round[], isOver: () => boolean): Promise<void> {
  const { names, random } = settings;
  const byGround = Map.groupBy(names, (name) => JSON.stringify(faults[name].ground));
  for (const together of shuffled([...byGround.values()], random)) {
    const services = servicesOf(faults[together[0]].ground);
    for (const fault of shuffled(together, random)) {
      if (rounds.length >= names.length && isOver()) break;
      const seed = settings.roundSeed ?? random.below(largestSeed + 1);
      const serial = rounds.length;
      process.stderr.write(`${fault}, round ${serial}, seed ${seed}\n`);
      const options = { fault, seed, serial, perSecond: settings.perSecond };
      const round = await services.use((ground) => runRound(ground, options)).catch(broken(options));
      tell(round);
      rounds.push(round);
    }
    await services.stop();
  }
}

const broken =
  ({ fault, seed, perSecond }: Pick<Round, 'fault' | 'seed' | 'perSecond'>) =>
  (error: unknown): Round => ({ fault, seed, perSecond, error: describeError(error) });

function tell(round: Round): void {
  const failures = failuresOf(round);
  const { fault, seed, ...rest } = round;
  const shown = { ...rest, problems: undefined, failures: failures.slice(0, shownFailures), failed: failures.length };
  print({ type: 'round', fault, seed, ...shown });
}

/** The services of one kind, started when they are wanted, and anew after something has failed on them. */
function servicesOf(kind: GroundKind) {
  let ground: Ground | undefined;
  async function stop(): Promise<void> {
    const last = ground;
    ground = undefined;
    await last?.stop();
  }
  return {
    stop,
    async use<T>(work: (ground: Ground) => Promise<T>): Promise<T> {
      ground ??= await startGround(kind);
      try {
        return await work(ground);
      } catch (error) {
        // What is broken may not stop either; it ends with this process.
        await stop().catch(() => undefined);
        throw error;
      }
    },
  };
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(random.below(rest.length), 1)[0]);
}

const command = new Command('chaos')
  .description('Puts a job through faults on real parts, and holds all that comes out against brute force.')
  .option('--seed <n>', 'what order, moments and victims are drawn from', '1')
  .option('--minutes <n>', 'begin anew until they are over; 0: each fault once', '0')
  .option('--faults <names>', 'with commas between (default: all)')
  .option('--rate <per-second>', 'records sent', '400')
  .option('--round-seed <n>', 'only the round with this seed, of the one fault of --faults')
  .addHelpText('after', examples)
  .action(chaos);
await runCommand(command);
