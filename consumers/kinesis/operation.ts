import { randomBytes } from 'node:crypto';
import type { Clock } from '../../runtime/clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { dynamoClient, kinesisClient } from './aws.ts';
import { type KinesisSourceConfig, leaseTableName } from './config.ts';
import { findLeaseTable } from './dynamo-lease-table.ts';
import { type KeptLeases, keepLeases } from './kept-leases.ts';
import type { Lease } from './lease.ts';
import { openLeaseWatch } from './lease-watch.ts';
import { pollShard } from './polling.ts';
import type { KeptPositions } from './positions.ts';
import { listShards } from './shard-list.ts';
import type { ShardLog } from './shard-log.ts';
import { holdingOf, type LeaseHolding, type ShardStanding } from './shard-standing.ts';
import { isWholeLog, streamAge } from './whole-log.ts';
import { workerName } from './worker-name.ts';

/** What an operator who moves positions has of a stream and its lease table. */
export interface StreamOperation {
  /** The shards that the stream or the table has, once it is known of every lease whether its owner lives. */
  readonly shards: readonly OperatedShard[];
  log(shard: string): ShardLog;
  /** Whether the log has all that ever was in the shard. */
  isWhole(lease: Lease, kept: KeptPositions): Promise<boolean>;
  /** As keepLeases(). */
  keep(leases: readonly Lease[]): Promise<KeptLeases>;
  close(): void;
}

export interface OperatedShard extends ShardStanding {
  /** Undefined where there is no lease. */
  readonly holding: LeaseHolding | undefined;
}

const requestMs = 10_000;

/** @throws WeirError INPUT when there is no such stream or lease table; CONFIG or BROKER as AWS answers. */
export async function openStreamOperation(config: KinesisSourceConfig, clock: Clock): Promise<StreamOperation> {
  const { stream, failover_time_ms: failoverMs } = config;
  const shards = await watchedShards(config, clock);
  const kinesis = kinesisClient(config, requestMs);
  const dynamo = dynamoClient(config, requestMs);
  const closing = new AbortController();
  const close = () => {
    closing.abort();
    kinesis.destroy();
    dynamo.destroy();
  };
  const random = seededRandom(randomBytes(4).readUInt32LE());
  const isYoung = streamAge(kinesis, stream, clock);
  const list = listShards(kinesis, config);
  try {
    const table = await findLeaseTable(dynamo, leaseTableName(config));
    return {
      shards,
      log: (shard) =>
        pollShard(kinesis, {
          stream,
          shard,
          maxRecords: config.max_records,
          idleMs: config.poll_interval_ms,
          clock,
          random,
          signal: closing.signal,
          onThrottled: () => {},
        }),
      isWhole: (lease, kept) => isWholeLog(lease, kept, isYoung, table, list),
      keep: (leases) => keepLeases(table, leases, workerName('weir-offsets', randomBytes(6)), failoverMs, clock),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function watchedShards(config: KinesisSourceConfig, clock: Clock): Promise<OperatedShard[]> {
  const watch = await openLeaseWatch(config, clock);
  try {
    const { shards, firstLookAt, lastLookAt } = await watch.watch(false);
    return shards.map((of) => ({
      ...of,
      holding: of.seen && holdingOf(of.seen, firstLookAt, lastLookAt, config.failover_time_ms),
    }));
  } finally {
    watch.close();
  }
}
