import { randomBytes } from 'node:crypto';
import { type KinesisClient, ResourceNotFoundException } from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { pollShard } from './polling.ts';
import type { ShardPages, ShardRecord } from './shard-log.ts';
import { type Shard, shardNumber } from './shards.ts';

export interface ReadStreamOptions {
  readonly stream: string;
  /** Lists the stream's shards, closed ones among them. */
  readonly shards: () => Promise<readonly Shard[]>;
  readonly clock: Clock;
  /** From the first records that arrived then or later, milliseconds since the epoch; undefined: from the beginning. */
  readonly since?: number;
  /** A record that is known to be there, though it may not be seen at once: its shard is read through it. */
  readonly through?: RecordPlace;
}

export interface RecordPlace {
  readonly shard: string;
  readonly sequence: string;
}

const mostRecords = 10_000;
/** Between two requests to a shard; whoever reads to the end does not wait for more. */
const idleMs = 200;

/**
 * Hands every record that the stream has by now to `visit`, shard after shard, those that others came from first, each in its order; holds no more
 * than one page at a time.
 * @throws WeirError CONFIG when a permission is missing, BROKER when Kinesis fails; else what `shards` and `visit` throw.
 */
export async function readStream(
  client: KinesisClient,
  { stream, shards, clock, since, through }: ReadStreamOptions,
  visit: (record: ShardRecord, shard: string) => Promise<void> | void,
): Promise<void> {
  const random = seededRandom(randomBytes(4).readUInt32LE());
  const byAge = [...(await shards())].sort((a, b) => shardNumber(a.id) - shardNumber(b.id));
  for (const { id } of byAge) {
    const closing = new AbortController();
    const reading = { clock, random, idleMs, signal: closing.signal, onThrottled: () => {} };
    const log = pollShard(client, { stream, shard: id, maxRecords: mostRecords, ...reading });
    const pages = log.open(since === undefined ? { kind: 'beginning' } : { kind: 'since', time: since });
    try {
      const wanted = through?.shard === id ? through.sequence : undefined;
      await readThrough(pages, wanted, (record) => visit(record, id));
    } catch (error) {
      // Closed, and its retention is over since the shards were listed.
      const isGone = error instanceof Error && error.cause instanceof ResourceNotFoundException;
      if (!isGone || (await shards()).some((shard) => shard.id === id)) throw error;
    } finally {
      closing.abort();
    }
  }
}

/** Reads a shard as far as it reached when its first records came, since more may come for ever, and through the record that is wanted. */
async function readThrough(
  pages: ShardPages,
  wanted: string | undefined,
  visit: (record: ShardRecord) => Promise<void> | void,
): Promise<void> {
  let end: number | undefined;
  let isFound = wanted === undefined;
  for (;;) {
    const { records, millisBehind, children } = await pages.next();
    for (const record of records) {
      isFound ||= record.sequence === wanted;
      await visit(record);
    }
    const last = records.at(-1)?.arrivedAt;
    // By the clock of Kinesis alone.
    if (last !== undefined) end ??= last + millisBehind;
    const isAtEnd = millisBehind === 0 || (last !== undefined && last > end!);
    if (children !== undefined || (isAtEnd && isFound)) return;
  }
}
