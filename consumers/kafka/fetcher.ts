import type { Cluster, Kafka } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { clusterOf } from './cluster.ts';
import type { KafkaSourceConfig } from './config.ts';
import { isPassing, protocolType } from './faults.ts';
import { type BrokerCalls, FetchBatch, type FetchedBatch } from './internals.ts';

/** A partition that wants to be fetched. */
export interface Feed {
  readonly partition: number;
  /** The offset to fetch from; undefined while nothing is wanted. */
  wanted(): number | undefined;
  /** What was fetched; it may have been asked for before something else was wanted. */
  fetched(batch: FetchedBatch): void;
  /** The log has no record at the offset that was wanted. */
  outOfRange(): void;
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
      const answer = await broker.fetch({
        maxWaitTime: config.max_wait_ms,
        minBytes: 1,
        isolationLevel: readCommitted,
        topics: [{ topic, partitions }],
      });
      events.answered(node);
      for (const part of answer.responses.flatMap((response) => response.partitions)) {
        const { feed, offset } = wanted.find(({ feed: { partition } }) => partition === part.partition)!;
        const batch = new FetchBatch(topic, String(offset), part);
        if (batch.rawMessages.length > 0) feed.fetched(batch);
      }
    } catch (error) {
      if (protocolType(error) === 'OFFSET_OUT_OF_RANGE') {
        events.answered(node);
        const { partition } = error as { partition?: number };
        wanted.find(({ feed }) => feed.partition === partition)?.feed.outOfRange();
      } else if (isPassing(error)) await refresh();
      else throw error;
    }
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
