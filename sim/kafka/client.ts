import type {
  Admin,
  Transaction as ClientTransaction,
  Consumer,
  Kafka,
  Producer,
  ProducerBatch,
  RecordMetadata,
} from 'kafkajs';
import { protocolType } from '../../consumers/kafka/faults.ts';
import type { EncodedRecords } from '../../consumers/kafka/record-batch.ts';
import { isAskingForCarriedOut, unstableOffset } from '../../consumers/kafka/stable-offsets.ts';
import type { Connection } from '../network.ts';
import type { SimulatedProcess } from '../process.ts';
import type { SimulatedBroker } from './broker.ts';
import { type ClusterParts, simulatedCluster } from './cluster.ts';
import { append } from './log.ts';
import { ProtocolError } from './protocol-error.ts';
import { type OutputRecord, readRecords } from './records.ts';
import type { Moved, ProducerIdentity, Transaction } from './transactions.ts';

/** What the adapters use of kafkajs, spoken to the simulated brokers by one process. */
export function simulatedClient(parts: ClusterParts, process: SimulatedProcess, inputTopic: string): Kafka {
  const { broker, network } = parts;
  const partitionsOf = (topic: string) => {
    const found = topic === inputTopic ? broker.input : broker.outputs.get(topic);
    if (found === undefined) throw new ProtocolError('UNKNOWN_TOPIC_OR_PARTITION');
    return found.partitions;
  };
  const client: Partial<Kafka> = {
    // Consumers are made for the assigners' sake alone, which are handed the cluster; see consumers/kafka/cluster.ts.
    consumer({ groupId, partitionAssigners }) {
      const cluster = simulatedCluster(parts, process);
      for (const assigner of partitionAssigners ?? []) assigner({ cluster, groupId, logger: undefined as never });
      return {} as Consumer;
    },
    admin: () => admin(broker, network.connect(process), partitionsOf) as Admin,
    producer: ({ transactionalId, transactionTimeout } = {}) => {
      const connection = network.connect(process);
      const made =
        transactionalId === undefined
          ? plainProducer(broker, connection)
          : transactionalProducer(broker, connection, process, transactionalId, transactionTimeout!);
      return made as Partial<Producer> as Producer;
    },
  };
  return client as Kafka;
}

function admin(
  { coordinator, input }: SimulatedBroker,
  connection: Connection,
  partitionsOf: (topic: string) => readonly unknown[],
): Partial<Admin> {
  return {
    connect: async () => {},
    disconnect: async () => {},
    fetchTopicMetadata: (options) =>
      connection.ask('metadata', () => ({
        topics: (options?.topics ?? []).map((name) => ({
          name,
          partitions: partitionsOf(name).map((_, partitionId) => ({ partitionId }) as never),
        })),
      })),
    describeConfigs: async () => ({ resources: [], throttleTime: 0 }),
    fetchOffsets: ({ topics } = { groupId: '' }) => {
      const isStable = !isAskingForCarriedOut();
      return connection.ask('position', () => {
        const partitions = input.partitions.map((_, partition) => {
          const isUnstable = isStable && coordinator.isUnstable(partition);
          const offset = isUnstable ? unstableOffset : String(coordinator.committed(partition) ?? -1);
          return { partition, offset, metadata: coordinator.metadata(partition) };
        });
        return (topics as readonly string[]).map((topic) => ({ topic, partitions }));
      });
    },
  };
}

function plainProducer(broker: SimulatedBroker, connection: Connection): Partial<Producer> {
  return {
    connect: async () => {},
    disconnect: async () => {},
    async sendBatch(batch) {
      const records = recordsOf(batch);
      return connection.ask('send', () => write(broker, records, undefined));
    },
  };
}

/** Between tries while a former transaction is being carried out. */
const concurrentMs = 20;
const concurrentAttempts = 200;

function transactionalProducer(
  broker: SimulatedBroker,
  connection: Connection,
  { clock }: SimulatedProcess,
  id: string,
  timeoutMs: number,
): Partial<Producer> {
  const { coordinator } = broker;
  let identity: ProducerIdentity | undefined;

  /** The client repeats what has to wait for a former transaction. */
  async function patiently<T>(ask: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        if (protocolType(error) !== 'CONCURRENT_TRANSACTIONS' || attempt === concurrentAttempts) throw error;
        await clock.sleep(concurrentMs);
      }
    }
  }

  return {
    connect: async () => {},
    disconnect: async () => {},
    async transaction() {
      identity ??= await patiently(() => connection.ask('init', () => coordinator.init(id, timeoutMs)));
      const producer = identity;
      let isOngoing = false;
      const end = async (isCommit: boolean) => {
        // As the client does: nothing to end where nothing was added.
        if (isOngoing) await patiently(() => connection.ask('end', () => coordinator.end(producer, isCommit)));
      };
      const transaction: Partial<ClientTransaction> = {
        async sendBatch(batch) {
          const records = recordsOf(batch);
          isOngoing = true;
          return patiently(() => connection.ask('send', () => write(broker, records, coordinator.current(producer))));
        },
        async sendOffsets({ topics }) {
          const moved: Moved[] = topics.flatMap(({ partitions }) => partitions);
          isOngoing = true;
          await connection.ask('offsets', () => {
            for (const { partition, offset, metadata = null } of moved) {
              coordinator.add(producer, partition, Number(offset), metadata);
            }
          });
        },
        commit: () => end(true),
        abort: () => end(false),
      };
      return transaction as ClientTransaction;
    },
  };
}

interface Addressed {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly OutputRecord[];
}

/** The sender's messages are encoded batches by partition, see consumers/kafka/encoded-messages.ts; they are read when they are sent. */
function recordsOf({ topicMessages }: ProducerBatch): Addressed[] {
  return (topicMessages ?? []).flatMap(({ topic, messages }) => {
    const groups = messages.reduce(() => ({}), {}) as Record<string, { readonly records: EncodedRecords }>;
    return Object.entries(groups).map(([partition, { records }]) => {
      return { topic, partition: Number(partition), records: readRecords(records.bytes, records.count) };
    });
  });
}

function write(
  broker: SimulatedBroker,
  sent: readonly Addressed[],
  transaction: Transaction | undefined,
): RecordMetadata[] {
  return sent.map(({ topic, partition, records }) => {
    const log = broker.outputs.get(topic)!.partitions[partition];
    const baseOffset = String(log.entries.length);
    for (const record of records) append(log, { ...record, transaction });
    return { topicName: topic, partition, errorCode: 0, baseOffset };
  });
}
