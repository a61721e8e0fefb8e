import {
  GetShardIteratorCommand,
  type KinesisClient,
  type Shard as ListedShard,
  ListShardsCommand,
  type ListShardsCommandInput,
  type ListShardsCommandOutput,
  ResourceNotFoundException,
  type ShardFilter,
} from '@aws-sdk/client-kinesis';
import { WeirError } from '../../runtime/errors.ts';
import type { KinesisSourceConfig } from './config.ts';
import { awsFault } from './faults.ts';
import type { Lease } from './lease.ts';
import type { ShardList } from './shard-leases.ts';
import type { InitialPosition, Shard } from './shards.ts';

export function initialPosition({ start }: KinesisSourceConfig): InitialPosition {
  return start === 'trim-horizon' ? 'TRIM_HORIZON' : start === 'latest' ? 'LATEST' : 'AT_TIMESTAMP';
}

/**
 * The time from which a shard is read whose lease says that it begins at a time or at the log's end; milliseconds since the epoch.
 * @throws WeirError INPUT when nobody has told the time: begun now, what came before would be left out.
 */
export function startTime({ start_at }: KinesisSourceConfig, { key, checkpoint }: Lease, now: number): number {
  if (start_at !== undefined) return Math.min(now, Date.parse(start_at));
  if (checkpoint.sequence !== 'AT_TIMESTAMP') return now;
  throw new WeirError(
    'INPUT',
    `the lease of ${key} begins at a time, which the lease table does not have: set source.kinesis.start to at-timestamp, and start_at as it was when the lease was made`,
  );
}

/** @throws WeirError INPUT when there is no such stream; CONFIG when a permission is missing; BROKER when Kinesis cannot be asked now. */
export function listShards(client: KinesisClient, config: KinesisSourceConfig): ShardList {
  const { stream } = config;
  return {
    async list(which) {
      try {
        const found = which === 'initial' ? await listAll(client, stream, initialFilter(config)) : [];
        if (found.length > 0) return found.map(shardOf);
        const all = await allShards(client, stream);
        // Of a time before all of them Kinesis says that none was open: the stream is younger, or has been split or merged since and its first are gone.
        return which === 'initial' ? eldest(all) : all;
      } catch (error) {
        if (error instanceof ResourceNotFoundException) throw missingStream(config, await client.config.region());
        throw awsFault(error, 'Kinesis', `listing the shards of stream ${stream}`);
      }
    },
    async isGone(ShardId) {
      const ShardIteratorType = 'TRIM_HORIZON';
      try {
        await client.send(new GetShardIteratorCommand({ StreamName: stream, ShardId, ShardIteratorType }));
        return false;
      } catch (error) {
        if (error instanceof ResourceNotFoundException) return true;
        throw awsFault(error, 'Kinesis', `looking for shard ${ShardId} of stream ${stream}`);
      }
    },
  };
}

function eldest(shards: readonly Shard[]): Shard[] {
  const ids = new Set(shards.map(({ id }) => id));
  return shards.filter(({ parents }) => !parents.some((parent) => ids.has(parent)));
}

/** All shards that the stream has, closed ones among them. @throws whatever the SDK does. */
export async function allShards(client: KinesisClient, stream: string): Promise<Shard[]> {
  return (await listAll(client, stream)).map(shardOf);
}

async function listAll(client: KinesisClient, StreamName: string, ShardFilter?: ShardFilter): Promise<ListedShard[]> {
  const shards: ListedShard[] = [];
  let input: ListShardsCommandInput | undefined = { StreamName, ShardFilter };
  while (input !== undefined) {
    const answer: ListShardsCommandOutput = await client.send(new ListShardsCommand(input));
    shards.push(...(answer.Shards ?? []));
    input = answer.NextToken === undefined ? undefined : { NextToken: answer.NextToken };
  }
  return shards;
}

function initialFilter({ start, start_at }: KinesisSourceConfig): ShardFilter {
  if (start === 'at-timestamp') return { Type: 'AT_TIMESTAMP', Timestamp: new Date(start_at!) };
  return { Type: start === 'latest' ? 'AT_LATEST' : 'AT_TRIM_HORIZON' };
}

function shardOf({
  ShardId,
  ParentShardId,
  AdjacentParentShardId,
  HashKeyRange,
  SequenceNumberRange,
}: ListedShard): Shard {
  return {
    id: ShardId!,
    parents: [ParentShardId, AdjacentParentShardId].filter((id) => id !== undefined),
    hashRange: { start: HashKeyRange!.StartingHashKey!, end: HashKeyRange!.EndingHashKey! },
    isOpen: SequenceNumberRange?.EndingSequenceNumber === undefined,
  };
}

function missingStream({ stream, endpoint }: KinesisSourceConfig, region: string): WeirError {
  const where = endpoint === undefined ? `in ${region}` : `in ${region} at ${endpoint}`;
  return new WeirError(
    'INPUT',
    `stream ${stream} does not exist ${where}; check source.kinesis.stream and region, or create it, for example: ` +
      `aws kinesis create-stream --stream-name ${stream} --shard-count 4 --region ${region}`,
  );
}
