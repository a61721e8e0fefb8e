import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  InvalidArgumentException,
  type KinesisClient,
  ResourceNotFoundException,
} from '@aws-sdk/client-kinesis';
import { awsFault, isThrottled } from './faults.ts';

/**
 * When a shard's record arrived, milliseconds since the epoch. One read, as its readers have no more than five a second.
 * @returns undefined where that does not tell: the record is deleted, never was one of the shard, or Kinesis is asked too often.
 * @throws WeirError CONFIG when a permission is missing; BROKER when Kinesis cannot be asked now.
 */
export async function arrivalOf(
  client: KinesisClient,
  StreamName: string,
  ShardId: string,
  StartingSequenceNumber: string,
): Promise<number | undefined> {
  try {
    const place = { StreamName, ShardId, ShardIteratorType: 'AT_SEQUENCE_NUMBER', StartingSequenceNumber } as const;
    const { ShardIterator } = await client.send(new GetShardIteratorCommand(place));
    const { Records = [] } = await client.send(new GetRecordsCommand({ ShardIterator, Limit: 1 }));
    const [record] = Records;
    if (record?.SequenceNumber !== StartingSequenceNumber) return undefined;
    return record.ApproximateArrivalTimestamp?.getTime();
  } catch (error) {
    const isUntold = error instanceof InvalidArgumentException || error instanceof ResourceNotFoundException;
    if (isUntold || isThrottled(error)) return undefined;
    throw awsFault(error, 'Kinesis', `reading shard ${ShardId} of stream ${StreamName}`);
  }
}
