import type { ShardOffsets, ShardOffsetsView } from '../consumers/shard-offsets.ts';
import { describeError } from '../runtime/errors.ts';
import { checkpointText, positionRemarks } from './fleet-kinesis.ts';
import { ageText, storeAway } from './fleet-remark.ts';
import { table } from './table.ts';

/** How `weir offsets show` shows the shards of a stream. */
export function shardOffsetsAsText(recipe: string, view: ShardOffsetsView, now: number): string {
  const { stream, application, leaseTable, shards, storeFault } = view;
  const rows = shards.map((of) => [
    ...[of.partition, of.state, of.seen?.lease.owner ?? (of.seen === undefined ? '' : 'nobody')],
    ...[of.seen === undefined ? '' : checkpointText(of.seen.lease.checkpoint), of.position ?? '', of.fence ?? ''],
    ...[of.arrivedAt === undefined ? '' : `${ageText(now - of.arrivedAt)} ago`, of.reapplied ?? ''],
  ]);
  const heads = ['partition', 'shard is', 'owner', 'checkpoint', 'position', 'fence', 'record put'];
  const remarks = [
    ...shards.flatMap(positionRemarks),
    ...(storeFault === undefined ? [] : [storeAway(describeError(storeFault))]),
  ];
  return [
    `Application ${application} of stream ${stream}, lease table ${leaseTable}, state of recipe ${recipe}\n`,
    table([...heads, 're-applied at a start'], rows),
    ...remarks.map(({ message }) => `${message}\n`),
  ].join('');
}

/** The same for machines; `docs/operations.md` has the fields. */
export function shardOffsetsAsJson({ stream, application, leaseTable, shards, storeFault }: ShardOffsetsView): object {
  return {
    stream,
    application,
    lease_table: leaseTable,
    store_fault: storeFault === undefined ? null : describeError(storeFault),
    shards: shards.map(shardAsJson),
  };
}

function shardAsJson(of: ShardOffsets): object {
  const { owner, checkpoint } = of.seen?.lease ?? {};
  return {
    shard: of.shard,
    partition: of.partition,
    state: of.state,
    owner: owner ?? null,
    checkpoint: checkpoint === undefined ? null : { sequence: checkpoint.sequence, sub_sequence: checkpoint.sub },
    position: of.position ?? null,
    fence: of.fence ?? null,
    record_put_at: of.arrivedAt === undefined ? null : new Date(of.arrivedAt).toISOString(),
    reapplied: of.reapplied ?? null,
    trouble: of.trouble ?? null,
  };
}
