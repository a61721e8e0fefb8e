import type { Batch, Consumer, ConsumerCrashEvent, ConsumerGroupJoinEvent, Kafka } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { requestMs, retrySettings } from './client.ts';
import type { KafkaSourceConfig } from './config.ts';
import { watchLiveness } from './liveness.ts';

/** One fetch's records of one partition. */
export interface FetchedBatch extends Pick<Batch, 'partition' | 'messages' | 'highWatermark' | 'lastOffset'> {
  /** The offset that was asked for. */
  readonly fetchedOffset: string;
}

export interface GroupEvents {
  /** The group rebalances: what was assigned may be somebody else's by now. */
  revoked(): void;
  /** The partitions of the process from now on; fetching them is paused until `seek`. */
  assigned(partitions: readonly number[]): void;
  /** Gives true when the batch was taken in. `isStale`: a seek was asked for after the fetch. */
  fetched(batch: FetchedBatch, isStale: boolean): boolean;
  /** The brokers have not answered for so long, although the connections stand; undefined once they answer again. */
  silent(forMs: number | undefined): void;
  /** A stretch of the log without any readable record: control records, aborted transactions. It reaches from `first` to `next`. */
  skipped(partition: number, first: number, next: number, end: number): void;
}

/** One membership of the consumer group. */
export interface GroupMember {
  /** Resolves with the fault that broke the membership, or undefined after `leave`. */
  readonly ended: Promise<unknown>;
  /** Fetches the partition from the offset on. Resolves once no batch from before can come any more. */
  seek(partition: number, offset: number): Promise<void>;
  pause(partition: number): void;
  resume(partition: number): void;
  commit(partition: number, offset: number): Promise<void>;
  leave(): Promise<void>;
}

/** Joins the group in the background; `partitions` is the topic's count. */
export function joinGroup(
  client: Kafka,
  config: KafkaSourceConfig,
  partitions: number,
  clock: Clock,
  events: GroupEvents,
): GroupMember {
  const { topic } = config;
  const consumer = createConsumer(client, config);
  let end = (_fault: unknown) => {};
  const ended = new Promise<unknown>((resolve) => {
    end = resolve;
  });
  let leaving: Promise<void> | undefined;
  const one = (partition: number) => [{ topic, partitions: [partition] }];
  /** The client throws when it is a member no more; then there is nothing left to pause, and `ended` tells why. */
  const whileMember = (work: () => void) => {
    try {
      work();
    } catch (error) {
      end(error);
    }
  };

  const liveness = watchLiveness(clock, { limitMs: config.session_timeout_ms, requestMs }, events.silent);
  consumer.on(consumer.events.HEARTBEAT, () => liveness.heard());
  consumer.on(consumer.events.FETCH_START, ({ payload }) => liveness.asking(payload.nodeId));
  consumer.on(consumer.events.FETCH, ({ payload }) => liveness.answered(payload.nodeId));
  consumer.on(consumer.events.REBALANCING, () => events.revoked());
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }: ConsumerGroupJoinEvent) => {
    const assigned = payload.memberAssignment[topic] ?? [];
    liveness.heard();
    // Nothing is fetched before the reader has said from where.
    if (assigned.length > 0) consumer.pause([{ topic, partitions: [...assigned] }]);
    events.assigned(assigned);
  });
  consumer.on(consumer.events.CRASH, ({ payload }: ConsumerCrashEvent) => end(payload.error));
  // The only trace of a fetch whose records are all control records or aborted: no batch comes of it.
  consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
    const { partition, batchSize, firstOffset, lastOffset, highWatermark } = payload;
    if (batchSize > 0) return;
    events.skipped(partition, Number(firstOffset ?? lastOffset), Number(lastOffset) + 1, Number(highWatermark));
  });

  const run = async () => {
    await consumer.connect();
    // The earliest as default keeps the client from leaving records out when the log is cut while it reads.
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      // A worker for every batch of a fetch: each is handed over in the turn of the event loop in which it arrived.
      partitionsConsumedConcurrently: Math.max(16, partitions * 2),
      eachBatch: async ({ batch, resolveOffset, isStale }) => {
        // The client's types leave the offset out that it asked for.
        const isTaken = events.fetched(batch as Batch & FetchedBatch, isStale());
        if (isTaken) resolveOffset(batch.messages[batch.messages.length - 1].offset);
      },
    });
  };
  run().catch(end);

  return {
    ended: ended.finally(() => {
      liveness.stop();
      return consumer.disconnect().catch(() => undefined);
    }),
    async seek(partition, offset) {
      // The client drops fetches under way when a seek is set, but not batches between their arrival and their hand-over, which
      // happens in one turn of the event loop: so the seek is set in a turn of its own.
      await new Promise((resolve) => setImmediate(resolve));
      whileMember(() => {
        consumer.seek({ topic, partition, offset: String(offset) });
        consumer.resume(one(partition));
      });
    },
    pause: (partition) => whileMember(() => consumer.pause(one(partition))),
    resume: (partition) => whileMember(() => consumer.resume(one(partition))),
    commit: (partition, offset) => consumer.commitOffsets([{ topic, partition, offset: String(offset) }]),
    leave() {
      leaving ??= consumer.disconnect().then(
        () => end(undefined),
        () => end(undefined),
      );
      return leaving;
    },
  };
}

function createConsumer(client: Kafka, config: KafkaSourceConfig): Consumer {
  return client.consumer({
    groupId: config.group,
    sessionTimeout: config.session_timeout_ms,
    rebalanceTimeout: Math.max(config.session_timeout_ms, 60_000),
    heartbeatInterval: config.heartbeat_interval_ms,
    minBytes: 1,
    maxWaitTimeInMs: config.max_wait_ms,
    maxBytesPerPartition: config.max_bytes_per_partition,
    readUncommitted: false,
    allowAutoTopicCreation: false,
    // Broken memberships are ended here and begun anew by the source, the same way for every cause.
    retry: { ...retrySettings, restartOnFailure: async () => false },
  });
}
