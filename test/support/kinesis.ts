import { setTimeout as delay } from 'node:timers/promises';
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  type KinesisClient,
  ListShardsCommand,
  PutRecordsCommand,
  waitUntilStreamExists,
} from '@aws-sdk/client-kinesis';
import { kinesisClient } from '../../consumers/kinesis/aws.ts';

export interface StreamRecord {
  readonly shard: string;
  readonly key: string;
  readonly value: string;
}

export interface TestKinesis {
  readonly client: KinesisClient;
  createStream(stream: string, shards: number): Promise<void>;
  deleteStream(stream: string): Promise<void>;
  /** Puts keyed records, those of each key in order. */
  put(stream: string, records: readonly { readonly key: string; readonly value: string }[]): Promise<void>;
  /** All records that the stream has now, in order within each shard. */
  read(stream: string): Promise<StreamRecord[]>;
  /** Records that have come since the last call; the stream must keep its shards. */
  follow(stream: string): () => Promise<StreamRecord[]>;
  close(): void;
}

const perRequest = 500;

/** Waits until the stream has so many open shards: for a moment it says that it is active as before. */
export async function untilResharded(client: KinesisClient, StreamName: string, shards: number): Promise<void> {
  for (;;) {
    const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName }));
    const { OpenShardCount, StreamStatus } = summary.StreamDescriptionSummary!;
    if (OpenShardCount === shards && StreamStatus === 'ACTIVE') return;
    await delay(50);
  }
}

export function testKinesis(endpoint: string): TestKinesis {
  const client = kinesisClient({ endpoint }, 60_000);

  async function shardsOf(StreamName: string): Promise<string[]> {
    const { Shards } = await client.send(new ListShardsCommand({ StreamName }));
    return (Shards ?? []).map(({ ShardId }) => ShardId!);
  }

  /** Gives, with each call, what has come since the last. */
  function followShard(StreamName: string, ShardId: string): () => Promise<StreamRecord[]> {
    let last: string | undefined;
    return async () => {
      const from = last === undefined ? 'TRIM_HORIZON' : 'AFTER_SEQUENCE_NUMBER';
      const start = { StreamName, ShardId, ShardIteratorType: from, StartingSequenceNumber: last } as const;
      let iterator = (await client.send(new GetShardIteratorCommand(start))).ShardIterator;
      const records: StreamRecord[] = [];
      while (iterator !== undefined) {
        const answer = await client.send(new GetRecordsCommand({ ShardIterator: iterator }));
        for (const { PartitionKey, Data, SequenceNumber } of answer.Records ?? []) {
          records.push({ shard: ShardId, key: PartitionKey!, value: Buffer.from(Data!).toString() });
          last = SequenceNumber;
        }
        iterator = answer.MillisBehindLatest === 0 ? undefined : answer.NextShardIterator;
      }
      return records;
    };
  }

  function follow(stream: string): () => Promise<StreamRecord[]> {
    let shards: Promise<(() => Promise<StreamRecord[]>)[]> | undefined;
    return async () => {
      shards ??= shardsOf(stream).then((ids) => ids.map((id) => followShard(stream, id)));
      return (await Promise.all((await shards).map((more) => more()))).flat();
    };
  }

  return {
    client,
    async createStream(StreamName, ShardCount) {
      await client.send(new CreateStreamCommand({ StreamName, ShardCount }));
      await waitUntilStreamExists({ client, maxWaitTime: 30, minDelay: 0.1, maxDelay: 0.2 }, { StreamName });
    },
    async deleteStream(StreamName) {
      await client.send(new DeleteStreamCommand({ StreamName, EnforceConsumerDeletion: true }));
    },
    async put(StreamName, records) {
      for (let from = 0; from < records.length; from += perRequest) {
        const Records = records
          .slice(from, from + perRequest)
          .map(({ key, value }) => ({ PartitionKey: key, Data: Buffer.from(value) }));
        const answer = await client.send(new PutRecordsCommand({ StreamName, Records }));
        if (answer.FailedRecordCount) throw new Error(`${answer.FailedRecordCount} records were refused`);
      }
    },
    read: (stream) => follow(stream)(),
    follow,
    close: () => client.destroy(),
  };
}
