import type { Cluster, Kafka } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { clusterOf } from './cluster.ts';
import { isPassing } from './faults.ts';
import type { ClusterCalls } from './internals.ts';

/** What partitions of a topic have. */
export interface LogRanges {
  /**
   * First offset still in the log, and the offset behind its last record that is not in an open transaction.
   * @throws WeirError INPUT for a partition that the topic does not have, BROKER for one that nobody leads; else what the client throws.
   */
  of(partition: number): Promise<LogRange>;
  close(): Promise<void>;
}

export interface LogRange {
  readonly earliest: number;
  readonly end: number;
}

const waitMs = 100;
const attempts = 10;

/** Asks for each partition by itself: the client's own question fails for all when one of them has no leader. */
export function createLogRanges(client: Kafka, topic: string, clock: Clock): LogRanges {
  let connected: Promise<Cluster & ClusterCalls> | undefined;

  async function connect(): Promise<Cluster & ClusterCalls> {
    const cluster = clusterOf(client) as Cluster & ClusterCalls;
    await cluster.connect();
    await cluster.addTargetTopic(topic);
    return cluster;
  }

  async function disconnect(): Promise<void> {
    const last = connected;
    connected = undefined;
    await last?.then((cluster) => cluster.disconnect()).catch(() => undefined);
  }

  async function ask(partition: number): Promise<LogRange> {
    connected ??= connect();
    const cluster = await connected;
    await cluster.refreshMetadataIfNecessary();
    const found = cluster.findTopicPartitionMetadata(topic).find(({ partitionId }) => partitionId === partition);
    if (found === undefined) throw new WeirError('INPUT', `topic ${topic} has no partition ${partition}`);
    if (found.leader < 0) throw leaderless(topic, partition);
    const offset = async (fromBeginning: boolean) => {
      const [answer] = await cluster.fetchTopicsOffset([{ topic, fromBeginning, partitions: [{ partition }] }]);
      return Number(answer.partitions[0].offset);
    };
    return { end: await offset(false), earliest: await offset(true) };
  }

  return {
    async of(partition) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await ask(partition);
        } catch (error) {
          await disconnect();
          if (attempt === attempts || !(error instanceof WeirError || isPassing(error))) throw error;
        }
        await clock.sleep(waitMs);
      }
    },
    close: disconnect,
  };
}

function leaderless(topic: string, partition: number): WeirError {
  return new WeirError(
    'BROKER',
    `no broker leads ${topic}:${partition}: those that have its replicas are away; it goes on when one of them is back`,
  );
}
