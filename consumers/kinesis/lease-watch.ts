import type { Clock } from '../../runtime/clock.ts';
import { dynamoClient, kinesisClient } from './aws.ts';
import { isShardEnd } from './checkpoint.ts';
import { type KinesisSourceConfig, leaseTableName } from './config.ts';
import { findLeaseTable } from './dynamo-lease-table.ts';
import { type LeaseView, look } from './lease-view.ts';
import { initialPosition, listShards } from './shard-list.ts';
import { holdingOf, type ShardStanding, shardStandings } from './shard-standing.ts';
import { missingLeases } from './shards.ts';

/** A stream and its lease table, looked at by an operator who takes no lease and writes nothing. */
export interface LeaseWatch {
  /** Ids of the shards that the stream or the table has. */
  readonly shards: readonly string[];
  /**
   * Looks at the table again: until every lease with an owner has been renewed, or the failover time is over.
   * @param isOnce looks once more and no longer: of most owners it is then not known whether they live.
   */
  watch(isOnce: boolean): Promise<WatchedLeases>;
  close(): void;
}

export interface WatchedLeases {
  readonly shards: readonly ShardStanding[];
  /** Monotonic times of the first look at the table and of the asking for the last. */
  readonly firstLookAt: number;
  readonly lastLookAt: number;
}

/** Looks in the failover time. */
const looks = 10;
const longestRequestMs = 10_000;

/** @throws WeirError INPUT when there is no such stream or lease table; CONFIG or BROKER as AWS answers. So does watch(). */
export async function openLeaseWatch(config: KinesisSourceConfig, clock: Clock): Promise<LeaseWatch> {
  const kinesis = kinesisClient(config, longestRequestMs);
  const dynamo = dynamoClient(config, longestRequestMs);
  const failoverMs = config.failover_time_ms;
  const close = () => {
    kinesis.destroy();
    dynamo.destroy();
  };
  try {
    const list = listShards(kinesis, config);
    const found = await list.list('all');
    const table = await findLeaseTable(dynamo, leaseTableName(config));
    // As it is now: what is missing in a look that is older is told as a fault.
    const leasesNow = () => table.list(true);
    let view: LeaseView = look(new Map(), await leasesNow(), clock.monotonic());
    const firstLookAt = clock.monotonic();
    let lastLookAt = firstLookAt;
    const initial = initialPosition(config);

    /** Those who have a shard that is not done with, and were not heard of yet. */
    const isAnyInDoubt = () =>
      [...view.values()].some(
        (seen) =>
          !isShardEnd(seen.lease.checkpoint) && holdingOf(seen, firstLookAt, lastLookAt, failoverMs) === 'owned',
      );

    return {
      shards: [...new Set([...found.map(({ id }) => id), ...view.keys()])],
      async watch(isOnce) {
        do {
          if (!isOnce) await clock.sleep(failoverMs / looks);
          lastLookAt = clock.monotonic();
          view = look(view, await leasesNow(), clock.monotonic());
        } while (!isOnce && isAnyInDoubt());
        // After the table: a shard that has a lease is in the stream by then, unless it has left it.
        const listed = await list.list('all');
        const leases = [...view.values()].map(({ lease }) => lease);
        const due =
          leases.length === 0
            ? (await list.list('initial')).map(({ id }) => id)
            : missingLeases(listed, leases, initial).map(({ key }) => key);
        return { shards: shardStandings(listed, view, new Set(due)), firstLookAt, lastLookAt };
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
