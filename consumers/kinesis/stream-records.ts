import type { ChildShard, _Record as StreamRecord } from '@aws-sdk/client-kinesis';
import type { ShardPage } from './shard-log.ts';

/**
 * What Kinesis answered as a page. Without a place to go on from, the shard has ended.
 * @param next iterator or sequence number to go on from.
 */
export function pageOf(
  records: readonly StreamRecord[],
  millisBehind: number | undefined,
  next: string | undefined,
  children: readonly ChildShard[] | undefined,
): ShardPage {
  return {
    records: records.map(({ SequenceNumber, PartitionKey, Data, ApproximateArrivalTimestamp }) => ({
      sequence: SequenceNumber!,
      partitionKey: PartitionKey!,
      data: Buffer.from(Data!.buffer, Data!.byteOffset, Data!.byteLength),
      arrivedAt: ApproximateArrivalTimestamp?.getTime() ?? Number.NaN,
    })),
    isBehindGap: false,
    millisBehind: millisBehind ?? 0,
    children:
      next === undefined
        ? (children ?? []).map(({ ShardId, ParentShards, HashKeyRange }) => ({
            id: ShardId!,
            parents: ParentShards ?? [],
            hashRange: { start: HashKeyRange!.StartingHashKey!, end: HashKeyRange!.EndingHashKey! },
            isOpen: true,
          }))
        : undefined,
  };
}
