import { DescribeStreamSummaryCommand, type KinesisClient } from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { isShardEnd } from './checkpoint.ts';
import { awsFault } from './faults.ts';
import type { Lease } from './lease.ts';
import type { LeaseTable } from './lease-table.ts';
import type { KeptPositions } from './positions.ts';
import type { ShardList } from './shard-leases.ts';

/** The stream's clock and this one may differ so much, milliseconds: who is wrong about it takes windows for whole that are not. */
const skewMs = 3_600_000;

/** A longer one that a stream has now it may have had for an hour: what was deleted before does not come back. */
const leastRetentionMs = 24 * 3_600_000;

/**
 * Whether the stream is younger than any retention: nothing of it is deleted yet. Who asks while somebody else does gets the same answer: a process
 * that gains hundreds of shards would take all the requests that the account has.
 * @throws WeirError CONFIG when a permission is missing; BROKER when Kinesis cannot be asked now.
 */
export function streamAge(client: KinesisClient, StreamName: string, clock: Clock): () => Promise<boolean> {
  let asking: Promise<boolean> | undefined;

  async function ask(): Promise<boolean> {
    try {
      const { StreamDescriptionSummary: stream } = await client.send(new DescribeStreamSummaryCommand({ StreamName }));
      const createdAt = stream?.StreamCreationTimestamp?.getTime();
      return createdAt !== undefined && clock.now() - createdAt < leastRetentionMs - skewMs;
    } catch (error) {
      throw awsFault(error, 'Kinesis', `describing stream ${StreamName}`);
    } finally {
      asking = undefined;
    }
  }

  return () => {
    asking ??= ask();
    return asking;
  };
}

/**
 * Whether a shard's log has all that ever was in it. Nothing of an original shard is deleted while the stream is younger than any retention. One that
 * came from others is whole, and so is what they left, when they were read to their end here and nothing is stored of it yet, while the stream
 * still has them: they leave it a retention after their last record, and the first of what followed may be deleted from then on.
 */
export async function isWholeLog(
  { parents }: Lease,
  { anchors }: KeptPositions,
  isYoung: () => Promise<boolean>,
  table: Pick<LeaseTable, 'read'>,
  shards: Pick<ShardList, 'isGone'>,
): Promise<boolean> {
  if (parents.length === 0) return isYoung();
  if (anchors.length > 0) return false;
  const found = await Promise.all(parents.map((key) => table.read(key)));
  if (!found.every((parent) => parent?.positions !== undefined && isShardEnd(parent.checkpoint))) return false;
  const gone = await Promise.all(parents.map((key) => shards.isGone(key)));
  return !gone.includes(true);
}
