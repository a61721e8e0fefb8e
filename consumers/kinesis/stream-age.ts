import { DescribeStreamSummaryCommand, type KinesisClient } from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { awsFault } from './faults.ts';

/** The stream's clock and this one may differ so much, milliseconds: who is wrong about it takes windows for whole that are not. */
const skewMs = 3_600_000;

/**
 * Whether the stream is younger than its retention: nothing of it is deleted yet. Who asks while somebody else does gets the same answer: a process
 * that gains hundreds of shards would take all the requests that the account has.
 * @throws WeirError CONFIG when a permission is missing; BROKER when Kinesis cannot be asked now.
 */
export function streamAge(client: KinesisClient, StreamName: string, clock: Clock): () => Promise<boolean> {
  let asking: Promise<boolean> | undefined;

  async function ask(): Promise<boolean> {
    try {
      const { StreamDescriptionSummary: stream } = await client.send(new DescribeStreamSummaryCommand({ StreamName }));
      const createdAt = stream?.StreamCreationTimestamp?.getTime();
      const retentionMs = (stream?.RetentionPeriodHours ?? 0) * 3_600_000;
      return createdAt !== undefined && clock.now() - createdAt < retentionMs - skewMs;
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
