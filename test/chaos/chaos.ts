import { parseArgs } from 'node:util';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { faults } from './faults.ts';
import { type Ground, startGround } from './ground.ts';
import { type RoundReport, runRound } from './round.ts';
import { summary } from './summary.ts';

/**
 * `npm run chaos`: faults on real parts, in an order drawn from the seed, until the minutes are over; each at least once where no time is given.
 * A JSON line per fault on standard output, a table on standard error at the end. Exit code 1 when anything was wrong with any output.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '0' },
    faults: { type: 'string', default: Object.keys(faults).join() },
    rate: { type: 'string', default: '400' },
  },
});
const [seed, minutes, perSecond] = [values.seed, values.minutes, values.rate].map(Number);
const wanted = values.faults.split(',');
for (const name of wanted) {
  if (!(name in faults)) throw new Error(`there is no fault ${name}; there are ${Object.keys(faults).join(', ')}`);
}

const random = seededRandom(seed);
const startedAt = performance.now();
const isOver = () => performance.now() - startedAt > minutes * 60_000;
const reports: RoundReport[] = [];
do await oncePerFault();
while (!isOver());
process.stderr.write(summary(reports));
process.exit(reports.every(({ problems }) => problems.length === 0) ? 0 : 1);

/** Each fault once: those that want the same services together. */
async function oncePerFault(): Promise<void> {
  const byGround = Map.groupBy(wanted, (name) => JSON.stringify(faults[name].ground));
  for (const names of shuffled([...byGround.values()], random)) {
    const ground = await startGround(faults[names[0]].ground, random);
    try {
      for (const fault of shuffled(names, random)) {
        if (reports.length >= wanted.length && isOver()) return;
        await oneRound(ground, fault);
      }
    } finally {
      await ground.stop();
    }
  }
}

async function oneRound(ground: Ground, fault: string): Promise<void> {
  const serial = reports.length;
  process.stderr.write(`${fault}, round ${serial}\n`);
  const report = await runRound(ground, { fault, seed: random.below(2 ** 31), serial, perSecond });
  reports.push(report);
  process.stdout.write(`${JSON.stringify({ ...report, problems: report.problems.slice(0, 10) })}\n`);
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(random.below(rest.length), 1)[0]);
}
