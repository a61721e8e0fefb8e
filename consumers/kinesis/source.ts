import { randomBytes } from 'node:crypto';
import type { Signal } from '../../features/redis/signal.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { WeirError } from '../../runtime/errors.ts';
import { processName } from '../../runtime/process-name.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createGained } from '../gained.ts';
import type { RecordFormat, Source } from '../ports.ts';
import { dynamoClient, kinesisClient, subscriptionClient } from './aws.ts';
import { fanOutConsumerName, type KinesisSourceConfig, leaseTableName } from './config.ts';
import { openLeaseTable } from './dynamo-lease-table.ts';
import { fanOutShard, subscribeTo } from './fan-out.ts';
import { fanOutConsumer } from './fan-out-consumer.ts';
import { awsFault } from './faults.ts';
import type { HashRange } from './hash-range.ts';
import type { HeldLease } from './held-lease.ts';
import { createLeaseCoordinator, type LeaseCoordinator } from './lease-coordinator.ts';
import type { LeaseEvent, LeaseLook } from './lease-event.ts';
import type { LeaseTable } from './lease-table.ts';
import { hearWords, wordsThrough } from './lease-words.ts';
import { createOwnedShard, type ShardLease } from './owned-shard.ts';
import { pollShard } from './polling.ts';
import { type OnRequest, watchRequests } from './requests.ts';
import { initialPosition, listShards, startTime } from './shard-list.ts';
import { shardNumber } from './shards.ts';
import { isWholeLog, streamAge } from './whole-log.ts';
import { workerName } from './worker-name.ts';

export interface KinesisSourceOptions {
  /** Most records in one batch. */
  readonly maxEvents: number;
  readonly format: RecordFormat;
  readonly clock: Clock;
  /**
   * Words among the processes: of leases that were given up, that are asked for, and handed over. Closed with the source. Without, they are found at
   * the next look at the table, and taken from their owners unasked.
   */
  readonly signal?: Signal;
  /** Told what happens to leases. */
  readonly onLease?: (event: LeaseEvent) => void;
  /** Told with each look at the lease table how the shards stand and who has them. */
  readonly onLook?: (look: LeaseLook) => void;
  /** Told of each request to Kinesis and DynamoDB. */
  readonly onRequest?: OnRequest;
  /** Told how far a partition's reader is behind the newest record, milliseconds. */
  readonly onBehind?: (partition: number, ms: number) => void;
  /** Told that Kinesis was asked too often. */
  readonly onThrottled?: () => void;
  /** Told that somebody else took or has a fan-out subscription, and whether that has gone on for longer than a lease takes to change hands. */
  readonly onRival?: (isLasting: boolean) => void;
  /** Told that a partition's shard has left the stream before it was read to its end. */
  readonly onGone?: (partition: number) => void;
  /** Told when the lease table or the stream does not answer, and (undefined) whenever it does. */
  readonly onTrouble?: (error: WeirError | undefined) => void;
}

/** A request of the lease table that takes longer than this part of the failover time has failed. */
const requestShare = 0.2;
const longestCheckpointShare = 0.4;
/** So many parts of the failover time after a lease has a new owner its former one has heard of it, or does not hear any more. */
const handOverShare = 3;
const kinesisRequestMs = 10_000;

/** The shards of one stream, shared with the application's other workers, Java ones among them, through its lease table. */
export function createKinesisSource(config: KinesisSourceConfig, options: KinesisSourceOptions): Source {
  const { clock } = options;
  const kinesis = kinesisClient(config, kinesisRequestMs);
  const subscriptions = subscriptionClient(config);
  const dynamo = dynamoClient(config, requestShare * config.failover_time_ms);
  const { onRequest } = options;
  if (onRequest !== undefined) {
    for (const client of [kinesis, subscriptions]) watchRequests(client, 'kinesis', onRequest);
    watchRequests(dynamo, 'dynamodb', onRequest);
  }
  const random = seededRandom(randomBytes(4).readUInt32LE());
  const gained = createGained();
  const closing = new AbortController();
  /** Nobody asks for more shards. */
  const leaving = new AbortController();
  let running: Promise<void> | undefined;
  const { stream } = config;
  const consumerName = fanOutConsumerName(config);
  const shards = listShards(kinesis, config);
  const highest = answeredOnce((ids) => ids.reduce((most, id) => Math.max(most, shardNumber(id)), 0));
  const numbersOf = answeredOnce((ids) => ids.map(shardNumber));
  const isYoung = streamAge(kinesis, stream, clock);
  const consumer =
    consumerName === undefined ? undefined : fanOutConsumer(kinesis, { stream, consumer: consumerName }, clock);

  async function run(): Promise<void> {
    // Before anything is written: a stream that is not there needs no lease table.
    await shards.list('all');
    await consumer?.arn();
    const table = await openLeaseTable(dynamo, leaseTableName(config), clock);
    const worker = workerName(processName(config.process_name), randomBytes(6));
    const coordinator = createLeaseCoordinator({
      table,
      shards,
      worker,
      failoverMs: config.failover_time_ms,
      shardSyncMs: config.shard_sync_interval_ms,
      maxLeases: config.max_leases,
      // A lease is not renewed while a checkpoint waits.
      checkpointMs: Math.min(config.checkpoint_interval_ms, longestCheckpointShare * config.failover_time_ms),
      initial: initialPosition(config),
      clock,
      random,
      leaving: leaving.signal,
      words: options.signal && wordsThrough(options.signal, worker),
      onReady: (held, hashRange) => gain(held, hashRange, coordinator, table),
      onEvent(event) {
        options.onLease?.(event);
        if (event.kind === 'evicted') void options.signal?.give();
        if (event.kind === 'gone') options.onGone?.(shardNumber(event.lease.key));
        if (event.kind === 'trouble') options.onTrouble?.(awsFault(event.error, 'DynamoDB', 'sharing the leases'));
      },
      onLook(look) {
        options.onLook?.(look);
        options.onTrouble?.(undefined);
      },
    });
    options.signal?.listen(coordinator.lookNow);
    if (options.signal !== undefined) hearWords(options.signal, worker, coordinator);
    await coordinator.run(closing.signal);
  }

  function gain(held: HeldLease, hashRange: HashRange, coordinator: LeaseCoordinator, table: LeaseTable): void {
    const { key } = held.lease;
    const partition = shardNumber(key);
    const reading = {
      clock,
      random,
      signal: AbortSignal.any([held.revoked, closing.signal]),
      onThrottled: () => options.onThrottled?.(),
    };
    const log = pollShard(kinesis, {
      stream: config.stream,
      shard: key,
      maxRecords: config.max_records,
      idleMs: config.poll_interval_ms,
      ...reading,
    });
    const tail =
      consumer === undefined
        ? log
        : fanOutShard(subscribeTo(subscriptions, consumer, key), {
            name: `shard ${key} of stream ${config.stream}`,
            handOverMs: handOverShare * config.failover_time_ms,
            onRival: (isLasting) => options.onRival?.(isLasting),
            ...reading,
          });
    gained.push(
      createOwnedShard({
        stream: config.stream,
        partition,
        partitions: () => 1 + Math.max(partition, highest(coordinator.known())),
        readable: () => numbersOf(coordinator.readable()),
        format: options.format,
        maxEvents: options.maxEvents,
        limits: { records: config.prefetch_records, bytes: config.prefetch_bytes },
        lease: leaseOf(held, hashRange, coordinator),
        log,
        tail,
        startsAt: () => startTime(config, held.lease, clock.now()),
        isWhole: (kept) => isWholeLog(held.lease, kept, isYoung, table, shards),
        clock,
        onBehind: (ms) => options.onBehind?.(partition, ms),
        onRead: held.read,
        ancestors: () => coordinator.ancestors(key).map(shardNumber),
        isClosed: () => coordinator.isClosed(key),
      }),
    );
  }

  return {
    async *ownerships(signal) {
      const leave = () => leaving.abort();
      if (signal.aborted) leave();
      else signal.addEventListener('abort', leave, { once: true });
      running ??= run().then(
        () => gained.end(),
        (error: unknown) => gained.fail(error),
      );
      yield* gained.until(signal);
    },
    async close() {
      closing.abort();
      gained.end();
      await running;
      await options.signal?.close();
      kinesis.destroy();
      subscriptions.destroy();
      dynamo.destroy();
    },
  };
}

function leaseOf(held: HeldLease, hashRange: HashRange, coordinator: LeaseCoordinator): ShardLease {
  const { key, positions = {} } = held.lease;
  return {
    key,
    hashRange,
    positions,
    checkpoint: held.lease.checkpoint,
    revoked: held.revoked,
    recalled: held.recalled,
    write: (checkpoint, written) => held.make({ kind: 'checkpoint', checkpoint, positions: written }),
    end: (children) => coordinator.end(held, children),
    // What could not be renewed for so long is anybody's by now.
    confirm: () => held.make({ kind: 'renew' }).catch(() => held.lose()),
    evict: () => coordinator.release(held),
  };
}

/** It is asked with every batch, and of hundreds of shards: while it is the same object, so is the answer. */
function answeredOnce<T>(ask: (ids: readonly string[]) => T): (ids: readonly string[]) => T {
  const answers = new WeakMap<readonly string[], { readonly answer: T }>();
  return (ids) => {
    const known = answers.get(ids) ?? { answer: ask(ids) };
    answers.set(ids, known);
    return known.answer;
  };
}
