import type { Cluster, Kafka } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { partitionName } from '../ports.ts';
import { clusterOf } from './cluster.ts';
import type { KafkaSourceConfig } from './config.ts';
import { brokerFault, isPassing, isRefusal, protocolType } from './faults.ts';
import { withPartitionsApart } from './fetch-answer.ts';
import {
  type BrokerCalls,
  errorFromCode,
  FetchBatch,
  type FetchedBatch,
  type FetchedPartition,
  type UndecodableBatch,
} from './internals.ts';

/** A partition that wants to be fetched. */
export interface Feed {
  readonly partition: number;
  /** The offset to fetch from; undefined while nothing is wanted. */
  wanted(): number | undefined;
  /** What was fetched, up to the next offset; it may have been asked for before something else was wanted. */
  fetched(batch: FetchedBatch, next: number): void;
  /** Nothing can be read at the offset yet, though the log may go on behind it: a transaction is open there. */
  nothingFetched(offset: number, end: number): void;
  /** The log has no record at the offset that was wanted. */
  outOfRange(): void;
  /** What was to be fetched from the offset cannot be; nothing more is fetched before something else is wanted. */
  failed(offset: number, error: WeirError): void;
}

/**
 * Fetches what feeds want: one request at a time to each broker, for all partitions that it leads, and none while nothing is wanted. It
 * knows nothing of groups; the client's consumer fetches only while no group rebalances, and forgets where it was when one has.
 */
export interface Fetcher {
  add(feed: Feed): void;
  remove(feed: Feed): void;
  /** Some feed wants something that it did not want before. */
  wake(): void;
  close(): Promise<void>;
}

export interface FetcherEvents {
  asking(node: number): void;
  answered(node: number): void;
  /** Told whenever leaders were asked for: these lead what is wanted, as far as is known. */
  leading(nodes: ReadonlySet<number>): void;
  /** A fault that does not pass by itself. */
  failed(error: unknown): void;
}

interface Wanted {
  readonly feed: Feed;
  readonly offset: number;
}

const readCommitted = 1;
/** Before leaders are asked for again, or a broker that failed is. */
const waitMs = 100;

export function createFetcher(client: Kafka, config: KafkaSourceConfig, clock: Clock, events: FetcherEvents): Fetcher {
  const { topic } = config;
  const cluster: Cluster = clusterOf(client);
  const feeds = new Set<Feed>();
  /** Brokers that a request is under way to. */
  const busy = new Set<number>();
  const closing = new AbortController();
  let isConnected = false;
  let refreshing: Promise<void> | undefined;

  /** What is wanted, by the broker that leads it; -1 for what no leader is known of. */
  function wantedByNode(): Map<number, Wanted[]> {
    const byNode = new Map<number, Wanted[]>();
    const leaders = new Map(
      cluster.findTopicPartitionMetadata(topic).map(({ partitionId, leader }) => [partitionId, leader]),
    );
    for (const feed of feeds) {
      const offset = feed.wanted();
      if (offset === undefined) continue;
      const node = leaders.get(feed.partition) ?? -1;
      byNode.set(node, [...(byNode.get(node) ?? []), { feed, offset }]);
    }
    return byNode;
  }

  function pump(): void {
    if (closing.signal.aborted) return;
    if (!isConnected) return void refresh();
    for (const node of wantedByNode().keys()) {
      if (node < 0) void refresh();
      else if (!busy.has(node)) void poll(node);
    }
  }

  async function poll(node: number): Promise<void> {
    busy.add(node);
    try {
      for (;;) {
        const wanted = closing.signal.aborted ? undefined : wantedByNode().get(node);
        if (wanted === undefined) return;
        await fetch(node, wanted);
      }
    } catch (error) {
      if (!closing.signal.aborted) events.failed(error);
    } finally {
      busy.delete(node);
    }
  }

  async function fetch(node: number, wanted: readonly Wanted[]): Promise<void> {
    events.asking(node);
    try {
      const broker = (await cluster.findBroker({ nodeId: String(node) })) as unknown as BrokerCalls;
      const partitions = wanted.map(({ feed, offset }) => ({
        partition: feed.partition,
        fetchOffset: String(offset),
        maxBytes: config.max_bytes_per_partition,
      }));
      const query = {
        maxWaitTime: config.max_wait_ms,
        minBytes: 1,
        isolationLevel: readCommitted,
        topics: [{ topic, partitions }],
      };
      const answer = await withPartitionsApart(() => broker.fetch(query));
      events.answered(node);
      const parts = answer.responses.flatMap((response) => response.partitions);
      if (!handOver(parts, wanted)) await refresh();
    } catch (error) {
      if (!isPassing(error)) throw error;
      await refresh();
    }
  }

  /** @returns false when the broker does not lead all of them any more. */
  function handOver(parts: readonly FetchedPartition[], wanted: readonly Wanted[]): boolean {
    let isLed = true;
    for (const part of parts) {
      const { feed, offset } = wanted.find(({ feed: { partition } }) => partition === part.partition)!;
      const error = part.errorCode === 0 ? undefined : errorFromCode(part.errorCode);
      if (part.undecodable !== undefined) feed.failed(offset, undecodable(topic, part.partition, part.undecodable));
      else if (error === undefined) {
        const batch = new FetchBatch(topic, String(offset), part);
        const last = batch.rawMessages.length > 0 ? Number(batch.lastOffset()) : -1;
        const next = Math.max(last + 1, part.next ?? 0);
        if (next > offset) feed.fetched(batch, next);
        else feed.nothingFetched(offset, Number(batch.highWatermark));
      } else if (protocolType(error) === 'OFFSET_OUT_OF_RANGE') feed.outOfRange();
      else if (isPassing(error)) isLed = false;
      else if (isRefusal(error)) throw error;
      else feed.failed(offset, brokerFault(error, `fetching ${topic}:${part.partition}`, config.brokers));
    }
    return isLed;
  }

  /** Asks who leads what, and goes on with it. */
  function refresh(): Promise<void> {
    refreshing ??= askForLeaders()
      .catch((error: unknown) => {
        if (!closing.signal.aborted && !isPassing(error)) events.failed(error);
        return clock.sleep(waitMs, closing.signal).then(() => undefined);
      })
      .finally(() => {
        refreshing = undefined;
        if (closing.signal.aborted) return;
        if (isConnected) events.leading(new Set(wantedByNode().keys()));
        if (feeds.size > 0) pump();
      });
    return refreshing;
  }

  async function askForLeaders(): Promise<void> {
    if (isConnected) {
      await clock.sleep(waitMs, closing.signal);
      return cluster.refreshMetadata();
    }
    await cluster.connect();
    await cluster.addTargetTopic(topic);
    isConnected = true;
  }

  return {
    add(feed) {
      feeds.add(feed);
    },
    remove(feed) {
      feeds.delete(feed);
    },
    wake: pump,
    async close() {
      closing.abort();
      feeds.clear();
      await cluster.disconnect().catch(() => undefined);
    },
  };
}

function undecodable(topic: string, partition: number, { offset, next, codec, cause }: UndecodableBatch): WeirError {
  const name = partitionName({ stream: topic, partition });
  return new WeirError(
    'INPUT',
    `the record batch at offset ${offset} of ${name} cannot be decoded (compression: ${codec}): ${describeError(cause)}; the partition waits, and ` +
      'tries again. Where only the leader has it damaged, let another replica lead (kafka-leader-election.sh). Else give its records up: ' +
      `kafka-delete-records.sh with offset ${next} of the partition; it goes on from there, and marks the windows that reach further back`,
  );
}
