import { parseArgs } from 'node:util';
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

/**
 * `npm run bench`: JSON lines {name, unit, median, min, max, runs}. With words, only the figures whose names contain one of them:
 * `npm run bench -- latency backlog.file --runs 5`.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '3' } },
});
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs wants a whole number, not ${values.runs}`);
const only = (name: string) =>
  positionals.length === 0 || positionals.some((word) => name.includes(word) || word.startsWith(`${name}.`));

for (const bench of [
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
])
  await bench(runs, only);
