import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { StoredEntry } from '../stored-letter.ts';
import { type Connection, kinesisClient } from './aws.ts';
import type { KinesisSinkConfig, KinesisSourceConfig } from './config.ts';
import { type RecordPlace, readStream } from './read-stream.ts';
import { allShards, listShards } from './shard-list.ts';
import { shardNumber } from './shards.ts';
import { outputFault } from './sink.ts';
import { type ReplaySign, readStored } from './stored-letter.ts';

const requestMs = 10_000;

/**
 * Hands all that the sink's dead-letter stream has by now to `visit`.
 * @param through a record that is known to be there, though it may not be seen at once.
 * @throws WeirError OUTPUT when there is no such stream, CONFIG when a permission is missing, BROKER when Kinesis fails; else what `visit` throws.
 */
export async function readDeadLetters(
  { dead_letters: stream }: Pick<KinesisSinkConfig, 'dead_letters'>,
  connection: Connection,
  clock: Clock,
  visit: (entry: StoredEntry | { readonly sign: ReplaySign }) => Promise<void> | void,
  through?: RecordPlace,
): Promise<void> {
  const client = kinesisClient(connection, requestMs);
  const shards = () =>
    allShards(client, stream).catch((error: unknown) => {
      throw outputFault(error, `listing the shards of stream ${stream}`);
    });
  try {
    await readStream(client, { stream, shards, clock, through }, (record, shard) => {
      const entry = readStored(record, shard);
      return entry === undefined ? undefined : visit(entry);
    });
  } finally {
    client.destroy();
  }
}

/**
 * Shards that have left the stream may have letters still; those that it never had have none.
 * @throws WeirError CONFIG for a number that no shard of the stream has had; INPUT when there is no such stream, else as AWS answers.
 */
export async function demandShard(source: KinesisSourceConfig, partition: number): Promise<void> {
  const client = kinesisClient(source, requestMs);
  try {
    const shards = await listShards(client, source).list('all');
    const last = Math.max(...shards.map(({ id }) => shardNumber(id)));
    if (partition <= last) return;
    throw new WeirError(
      'CONFIG',
      `stream ${source.stream} has no shard ${partition}: the number of its last is ${last}`,
    );
  } finally {
    client.destroy();
  }
}
