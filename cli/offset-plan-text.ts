import type { CompiledJob } from '../consumers/compile.ts';
import type { PlannedMove, ResetTarget } from '../consumers/offset-plan.ts';
import { groupOf } from '../consumers/offsets.ts';
import { lostSentence } from './standing-remark.ts';
import { table } from './table.ts';

const count = (value: number): string => value.toLocaleString('en-US');

/** What moving a group's positions does, for the one who is asked. */
export function planText(job: CompiledJob, target: ResetTarget, moves: readonly PlannedMove[]): string {
  const { topic, group } = groupOf(job);
  const rows = moves.map((of) => [
    ...[of.partition, of.committed ?? '', of.to, of.begin, of.end, of.fence ?? ''],
    ...[of.repeated, of.skipped, of.beyond, of.reapplied],
  ]);
  const heads = [
    ...['partition', 'committed', 'new', 'log begins', 'log ends', 'fence'],
    ...['published again', 'never published', 'sub-states dropped', 're-applied'],
  ];
  const lost = moves.filter((move) => move.lost > 0).map((move) => lostSentence(move));
  const lines = [...moves.flatMap((move) => nearest(move, target)), ...lost, ...remarks(moves)];
  return [
    `Group ${group} in topic ${topic}, to ${targetText(target)}:\n`,
    table(heads, rows),
    ...lines.map((line) => `${line}\n`),
  ].join('');
}

function targetText(target: ResetTarget): string {
  if ('offset' in target) return `offset ${target.offset}`;
  if ('time' in target) return `the first record of ${new Date(target.time).toISOString()} or later`;
  return target.to === 'earliest' ? "the log's beginning" : "the log's end";
}

/** Says where the position is not what was asked for. */
function nearest({ partition, asked, to, begin, end }: PlannedMove, target: ResetTarget): string[] {
  if (asked < begin)
    return [`Partition ${partition}: the log begins at ${begin}, behind offset ${asked}: its beginning.`];
  if (asked > end) return [`Partition ${partition}: the log ends at ${end}, before offset ${asked}: its end.`];
  if ('time' in target && to === end)
    return [`Partition ${partition}: no record is of that time or later: the log's end.`];
  return [];
}

function remarks(moves: readonly PlannedMove[]): string[] {
  const sum = (of: (move: PlannedMove) => number) => moves.reduce((total, move) => total + of(move), 0);
  const [repeated, skipped, reapplied] = [sum((of) => of.repeated), sum((of) => of.skipped), sum((of) => of.reapplied)];
  const short = moves.filter(({ knownFrom }) => knownFrom !== undefined).map(({ partition }) => partition);
  return [
    ...(repeated > 0
      ? [
          `Output: ${count(repeated)} records are scored and published again, with the ids that they had: subscribers must leave out what they know.`,
        ]
      : []),
    ...(skipped > 0 ? [`Output: ${count(skipped)} records get into the state, but are never scored.`] : []),
    ...(moves.some(({ isRewound }) => isRewound)
      ? ['State: what reaches beyond the new position is dropped, with the fence of its partition.']
      : []),
    ...(reapplied > 0
      ? [`State: the next start re-applies ${count(reapplied)} records, publishing nothing, before it scores.`]
      : []),
    ...(short.length > 0
      ? [
          `State: the log of partition ${short.join(', ')} no longer has what was before: windows that reach behind its beginning will be incomplete until they have filled.`,
        ]
      : []),
  ];
}
