import { KinesisClient } from '@aws-sdk/client-kinesis';
import { deaggregate, type UserRecords } from '../consumers/kinesis/deaggregate.ts';
import { hashFilter } from '../consumers/kinesis/hash-range.ts';
import { createNumbering } from '../consumers/kinesis/numbering.ts';
import { pollShard } from '../consumers/kinesis/polling.ts';
import { createShardReader } from '../consumers/kinesis/shard-reader.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { seededRandom } from '../runtime/random.ts';
import { aggregate } from '../test/support/aggregate.ts';
import { type HandbookRow, readHandbook } from '../test/support/handbook.ts';
import { jsonRecord } from './data.ts';
import { measure } from './measure.ts';

const events = 100_000;
const perAggregate = 250;
const perResponse = 5_000;
/** All hash keys but one: none of the records is left out, and each is looked at. */
const nearlyAll = { start: '1', end: String(2n ** 128n - 1n) };

export async function benchKinesis(runs: number, only: (name: string) => boolean): Promise<void> {
  if (!only('kinesis')) return;
  const rows = await readHandbook(events);
  await benchDeaggregation(rows, runs);
  await benchReading(rows, runs);
}

/** User records out of aggregated ones of 30 to 50 KB, with and without a range of hash keys to hold them against. */
async function benchDeaggregation(rows: readonly HandbookRow[], runs: number): Promise<void> {
  const aggregates: Buffer[] = [];
  for (let first = 0; first < events; first += perAggregate) {
    const part = rows.slice(first, first + perAggregate);
    aggregates.push(aggregate(part.map((row) => ({ key: row.customer_id, data: Buffer.from(jsonRecord(row)) }))));
  }
  for (const [name, filter] of [
    ['kinesis.deaggregate', undefined],
    ['kinesis.deaggregate.filtered', hashFilter(nearlyAll)],
  ] as const) {
    await measure(name, runs, events, () => {
      let count = 0;
      for (const data of aggregates) {
        const into: UserRecords = { keys: [], values: [], subs: [] };
        deaggregate('', data, filter, into);
        count += into.subs.length;
      }
      if (count !== events) throw new Error(`${count} of ${events} user records`);
    });
  }
}

/** From the bytes of GetRecords' answers to batches, by way of the SDK; Kinesis itself would give 2 MB a second and shard. */
async function benchReading(rows: readonly HandbookRow[], runs: number): Promise<void> {
  const answers: Buffer[] = [];
  for (let first = 0; first < events; first += perResponse) {
    answers.push(Buffer.from(recordedAnswer(rows.slice(first, first + perResponse), first)));
  }
  await measure('kinesis.read', runs, events, async () => {
    const client = answeringClient(answers);
    const log = pollShard(client, {
      stream: 'transactions',
      shard: 'shardId-000000000000',
      maxRecords: perResponse,
      idleMs: 0,
      clock: hastyClock,
      random: seededRandom(1),
      signal: new AbortController().signal,
      onThrottled: () => {},
    });
    const reader = createShardReader({
      pages: log.open({ kind: 'beginning' }),
      numbering: createNumbering({ checkpoint: undefined, anchors: [] }, undefined),
      cut: () => new Error('the log was cut'),
      isBehindAnchor: false,
      filter: undefined,
      position: 0,
      limits: { records: 10_000, bytes: 8_388_608 },
      clock: systemClock,
      onBehind: () => {},
      onRead: () => {},
    });
    for (let count = 0; count < events; ) {
      await reader.arrival(1_000);
      count += reader.take(1_000).batch.values.length;
    }
    reader.close();
    client.destroy();
  });
}

function recordedAnswer(rows: readonly HandbookRow[], first: number): string {
  const Records = rows.map((row, index) => ({
    SequenceNumber: String(
      49_680_495_458_933_812_820_470_964_442_167_462_550_175_381_300_212_400_130n + BigInt(first + index),
    ),
    ApproximateArrivalTimestamp: row.ts_ms / 1000,
    Data: Buffer.from(jsonRecord(row)).toString('base64'),
    PartitionKey: row.customer_id,
  }));
  return JSON.stringify({ Records, NextShardIterator: 'next', MillisBehindLatest: 1_000 });
}

/** The SDK's client over answers that are there already. */
function answeringClient(answers: readonly Buffer[]): KinesisClient {
  let next = 0;
  const bodyFor = (target: string | undefined) =>
    target?.endsWith('GetRecords') ? answers[next++ % answers.length] : Buffer.from('{"ShardIterator":"first"}');
  return new KinesisClient({
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    requestHandler: {
      handle: async (request: { readonly headers: Readonly<Record<string, string>> }) => ({
        response: {
          statusCode: 200,
          headers: { 'content-type': 'application/x-amz-json-1.1' },
          body: new Blob([new Uint8Array(bodyFor(request.headers['x-amz-target']))]).stream(),
        },
      }),
    },
  });
}

/** Waits are over at once. */
const hastyClock: Clock = { ...systemClock, sleep: async () => true };
