import { Command } from 'commander';
import { wholeNumber } from '../cli/whole-number.ts';
import { runCommand } from '../test/support/command.ts';
import { benchDecode } from './decode.ts';
import { benchFeatures } from './features.ts';
import { benchFile } from './file.ts';
import { benchHandOver } from './hand-over.ts';
import { benchIdle } from './idle.ts';
import { benchKafka } from './kafka.ts';
import { benchKinesis } from './kinesis.ts';
import { benchLeases } from './leases.ts';
import { benchPublish } from './publish.ts';
import { benchRepair } from './repair.ts';
import { benchScoring } from './scoring.ts';
import { benchState } from './state.ts';
import { benchTakeOver } from './take-over.ts';

const benches = [
  benchDecode,
  benchFeatures,
  benchState,
  benchScoring,
  benchPublish,
  benchFile,
  benchKafka,
  benchHandOver,
  benchRepair,
  benchTakeOver,
  benchIdle,
  benchKinesis,
  benchLeases,
];

const mostRuns = 1_000;
const examples = `
Examples:
  $ npm run bench                                      all figures
  $ npm run bench -- latency backlog.file --runs 5     some of them`;

async function bench(words: readonly string[], { runs }: { readonly runs: string }): Promise<void> {
  const count = wholeNumber('--runs', runs, 1, mostRuns);
  const only = (name: string) =>
    words.length === 0 || words.some((word) => name.includes(word) || word.startsWith(`${name}.`));
  for (const one of benches) await one(count, only);
}

const command = new Command('bench')
  .description('Measures, and prints JSON lines {name, unit, median, min, max, runs}.')
  .argument('[words...]', 'only the figures whose names contain one of them')
  .option('--runs <n>', 'how often each is measured', '3')
  .addHelpText('after', examples)
  .action(bench);
await runCommand(command);
