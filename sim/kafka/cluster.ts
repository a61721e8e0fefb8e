import type { Cluster } from 'kafkajs';
import type {
  BrokerCalls,
  ClusterCalls,
  Coordinator,
  FetchAnswer,
  FetchedPartition,
} from '../../consumers/kafka/internals.ts';
import type { VirtualTime } from '../clock.ts';
import type { Connection, Network } from '../network.ts';
import type { SimulatedProcess } from '../process.ts';
import type { Chance } from '../random.ts';
import type { SentRecord, SimulatedBroker } from './broker.ts';
import type { InputRecord, PartitionLog, TopicLog } from './log.ts';
import type { Moved } from './transactions.ts';

export interface ClusterParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly network: Network;
  readonly broker: SimulatedBroker;
  /** Most records of one partition in one fetch. */
  readonly fetchRecords: number;
}

/** What the group's member and the fetcher use of the client's inner cluster: connections of their own. */
export function simulatedCluster(parts: ClusterParts, process: SimulatedProcess): Cluster {
  const { broker, network } = parts;
  const connection = network.connect(process);
  let known = 0;
  const cluster = {
    connect: async () => {},
    disconnect: async () => {},
    addTargetTopic: () => cluster.refreshMetadata(),
    async refreshMetadata() {
      known = await connection.ask('metadata', () => broker.input.partitions.length);
    },
    findTopicPartitionMetadata(topic: string) {
      const length = broker.outputs.get(topic)?.partitions.length ?? known;
      return Array.from({ length }, (_, partitionId) => ({ partitionId, leader: 0 }));
    },
    refreshMetadataIfNecessary: async () => {},
    fetchTopicsOffset: ([{ fromBeginning, partitions }]: Parameters<ClusterCalls['fetchTopicsOffset']>[0]) =>
      connection.ask('metadata', () => [
        {
          partitions: partitions.map(({ partition }) => {
            const { earliest, entries } = broker.input.partitions[partition];
            return { offset: String(fromBeginning ? earliest : entries.length) };
          }),
        },
      ]),
    findGroupCoordinator: async () => coordinator(broker, connection),
    findBroker: async () => ({
      fetch(query: FetchQuery) {
        const output = broker.outputs.get(query.topics[0].topic);
        if (output === undefined) return fetch(parts, connection, query);
        return connection.ask('fetch', () => fetchUncommitted(output, query));
      },
    }),
  };
  return cluster as unknown as Cluster;
}

/** Of the broker that coordinates the group. */
type GroupCalls = Pick<Coordinator, 'joinGroup' | 'syncGroup' | 'heartbeat' | 'leaveGroup' | 'offsetCommit'>;

function coordinator({ group, coordinator: offsets }: SimulatedBroker, connection: Connection): GroupCalls {
  return {
    joinGroup: ({ memberId, groupProtocols }) => connection.ask('join', () => group.join(memberId, groupProtocols)),
    syncGroup: ({ memberId, generationId, groupAssignment }) =>
      connection.ask('sync', async () => ({
        memberAssignment: await group.sync(memberId, generationId, groupAssignment),
      })),
    heartbeat: ({ memberId, groupGenerationId }) =>
      connection.ask('heartbeat', () => group.heartbeat(memberId, groupGenerationId)),
    leaveGroup: ({ memberId }) => connection.ask('leave', () => group.leave(memberId)),
    offsetCommit: ({ memberId, groupGenerationId, topics }) =>
      connection.ask('checkpoint', () => {
        group.assertMember(memberId, groupGenerationId);
        const moved: Moved[] = topics.flatMap(({ partitions }) => partitions);
        for (const { partition, offset, metadata = null } of moved) {
          offsets.commit(partition, Number(offset), metadata);
        }
        return { responses: [] };
      }),
  };
}

interface FetchQuery {
  readonly maxWaitTime: number;
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly fetchOffset: string }[];
  }[];
}

const offsetOutOfRange = 1;

const isInRange = ({ offset, log }: { readonly offset: number; readonly log: PartitionLog<InputRecord> }) =>
  offset >= log.earliest && offset <= log.entries.length;

/** Answers when there is something of any of the partitions, or after the longest wait with nothing. */
function fetch(
  { time, chance, broker, fetchRecords }: ClusterParts,
  connection: Connection,
  { maxWaitTime, topics: [{ topic, partitions }] }: FetchQuery,
): ReturnType<BrokerCalls['fetch']> {
  const wanted = partitions.map(({ partition, fetchOffset }) => {
    return { partition, offset: Number(fetchOffset), log: broker.input.partitions[partition] };
  });

  function answer(): FetchAnswer {
    const found = wanted.map(({ partition, offset, log }): FetchedPartition => {
      const records = isInRange({ offset, log }) ? read(log, offset) : { messages: [] };
      const errorCode = isInRange({ offset, log }) ? 0 : offsetOutOfRange;
      return { partition, errorCode, highWatermark: String(log.entries.length), abortedTransactions: [], ...records };
    });
    return { responses: [{ topicName: topic, partitions: found }] };
  }

  function read({ entries }: PartitionLog<InputRecord>, offset: number) {
    // Records come in the batches in which they were written: the first may begin before what was asked for.
    const first = chance.isTrue(0.1) ? Math.max(0, offset - chance.between(1, 3)) : offset;
    const next = Math.min(entries.length, offset + chance.between(1, fetchRecords));
    if (next <= offset) return { messages: [] };
    const messages = entries.slice(first, next).map((record, index) => ({
      offset: String(first + index),
      timestamp: String(record?.timestamp ?? -1),
      key: record?.key ?? null,
      value: record?.value ?? null,
      isControlRecord: record === undefined,
      batchContext: { producerId: '-1', inTransaction: false },
    }));
    // Control records at the end have been compacted away.
    while (messages.at(-1)?.isControlRecord) messages.pop();
    return { messages, next };
  }

  return connection.ask('fetch', () => {
    if (!wanted.every(isInRange)) return answer();
    if (wanted.some(({ offset, log }) => offset < log.entries.length)) return answer();
    return new Promise<FetchAnswer>((resolve) => {
      const wake = () => {
        cancel();
        for (const { log } of wanted) log.waiting.delete(wake);
        resolve(answer());
      };
      const cancel = time.after(maxWaitTime, wake);
      for (const { log } of wanted) log.waiting.add(wake);
    });
  });
}

/**
 * What an output partition has from the offset on, as who reads uncommitted records sees it. Its log has no markers; here they follow all records, each
 * transaction's in the order of their first records.
 */
function fetchUncommitted(
  { partitions }: TopicLog<SentRecord>,
  { topics: [{ topic, partitions: asked }] }: FetchQuery,
): FetchAnswer {
  const found = asked.map(({ partition, fetchOffset }): FetchedPartition => {
    const { entries, earliest } = partitions[partition];
    const sent = entries.slice(Number(fetchOffset)).map((record) => record!);
    const ended = [...new Set(sent.map(({ transaction }) => transaction))].filter(
      (transaction) => transaction?.state === 'committed' || transaction?.state === 'aborted',
    );
    const messages = [
      ...sent.map(({ key, transaction }) => ({ key, id: transaction?.id ?? '-1', isControlRecord: false })),
      ...ended.map((transaction) => {
        const { state, id } = transaction!;
        return { key: Buffer.from([0, 0, 0, state === 'committed' ? 1 : 0]), id, isControlRecord: true };
      }),
    ].map(({ id, ...message }, index) => {
      return {
        ...message,
        offset: String(Number(fetchOffset) + index),
        batchContext: { producerId: id, inTransaction: true },
      };
    });
    const errorCode = Number(fetchOffset) < earliest ? offsetOutOfRange : 0;
    const next = messages.length > 0 ? Number(fetchOffset) + messages.length : undefined;
    return { partition, errorCode, highWatermark: String(entries.length), messages, next };
  });
  return { responses: [{ topicName: topic, partitions: found }] };
}
