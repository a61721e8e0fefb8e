import type { KinesisSourceConfig } from '../consumers/kinesis/config.ts';
import type { Wanted } from '../consumers/kinesis/wanted-place.ts';
import type { ShardMove } from '../consumers/shard-plan.ts';
import { checkpointText } from './fleet-kinesis.ts';
import { table } from './table.ts';

/** What moving an application's positions does, for the one who is asked. */
export function shardPlanText(
  { stream, application }: KinesisSourceConfig,
  wanted: Wanted,
  moves: readonly ShardMove[],
): string {
  const rows = moves.map((of) => [
    ...[of.partition, of.state, of.committed ?? '', of.place.position, checkpointText(of.place.checkpoint)],
    ...[of.fence ?? '', of.repeated ?? '', of.skipped ?? '', of.beyond, of.reapplied ?? ''],
  ]);
  const heads = [
    ...['partition', 'shard is', 'position', 'new', 'new checkpoint', 'fence'],
    ...['published again', 'never published', 'sub-states dropped', 're-applied'],
  ];
  return [
    `Application ${application} of stream ${stream}, to ${targetText(wanted)}:\n`,
    table(heads, rows),
    ...remarks(moves).map((line) => `${line}\n`),
  ].join('');
}

function targetText(wanted: Wanted): string {
  if ('time' in wanted) return `the first record of ${new Date(wanted.time).toISOString()} or later`;
  return wanted.to === 'earliest' ? "the log's beginning" : "the log's end";
}

function remarks(moves: readonly ShardMove[]): string[] {
  const [repeated, skipped, reapplied] = (['repeated', 'skipped', 'reapplied'] as const).map((of) => sumOf(moves, of));
  const short = moves.filter(({ isShort }) => isShort).map(({ partition }) => partition);
  return [
    ...(repeated === undefined
      ? []
      : [
          `Output: ${repeated} records are scored and published again, with the ids that they had: subscribers must leave out what they know.`,
        ]),
    ...(skipped === undefined ? [] : [`Output: ${skipped} records get into the state, but are never scored.`]),
    ...(moves.some(({ isRewound }) => isRewound)
      ? ['State: what reaches beyond the new position is dropped, with the fence of its partition.']
      : []),
    ...(reapplied === undefined
      ? []
      : [`State: the next start re-applies ${reapplied} records, publishing nothing, before it scores.`]),
    ...(short.length > 0
      ? [
          `State: whether the log of partition ${short.join(', ')} has all that ever was in it is not known: windows that reach behind its beginning will be incomplete until they have filled.`,
        ]
      : []),
  ];
}

/** Undefined for none; "at least" where some of it is not known. */
function sumOf(moves: readonly ShardMove[], of: 'repeated' | 'skipped' | 'reapplied'): string | undefined {
  const known = moves.reduce((sum, move) => sum + (move[of] ?? 0), 0);
  const isPartial = moves.some((move) => move[of] === undefined);
  if (known === 0 && !isPartial) return undefined;
  return `${isPartial ? 'at least ' : ''}${known.toLocaleString('en-US')}`;
}
