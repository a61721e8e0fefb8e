import type { Admin, Producer } from 'kafkajs';
import kafkajs from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { eventSource, eventType } from '../../scoring/cloud-event.ts';
import { openPlainOutput } from '../plain-output.ts';
import { type Output, type Ownership, partitionName, type Sink } from '../ports.ts';
import {
  connectAdmin,
  createClient,
  type KafkaClient,
  type KafkaLog,
  type PartitionCounts,
  retrySettings,
} from './client.ts';
import type { KafkaConnection, KafkaSinkConfig } from './config.ts';
import { brokerFault, isRefusal } from './faults.ts';
import type { SentCommit } from './hanging.ts';
import { deadLetterLayout, eventLayout } from './records.ts';
import { createSender, type Destination } from './send.ts';
import { openTransactionalOutput } from './transactional-output.ts';

export interface KafkaSinkOptions {
  /** From `sinkConnection`. */
  readonly connection: KafkaConnection;
  /** Names the event source: `/weir/<job>`. */
  readonly job: string;
  /** Consumer group whose committed offsets are the input position, and the beginning of every transactional id. */
  readonly group: string;
  readonly delivery: 'exactly-once' | 'at-least-once';
  /** Whether input partitions are Kafka partitions of the same cluster. */
  readonly sourceIsKafka: boolean;
  readonly clock: Clock;
  readonly log?: KafkaLog;
}

const retryMs = 200;

export interface KafkaSink extends Sink {
  /**
   * Finds out whether outputs could be opened, before any partition is owned.
   * @throws WeirError OUTPUT when a topic is missing, BROKER when the brokers cannot be reached.
   */
  connect(): Promise<void>;
}

export function createKafkaSink(config: KafkaSinkConfig, options: KafkaSinkOptions): KafkaSink {
  return sinkOver(createClient(options.connection, options.log), config, options);
}

/** The sink over a client of the cluster. */
export function sinkOver(client: KafkaClient, config: KafkaSinkConfig, options: KafkaSinkOptions): KafkaSink {
  const { connection, clock, group } = options;
  const outputs = new Set<Output>();
  const lastCommits = new Map<string, readonly SentCommit[]>();
  const layout = eventLayout(eventSource(options.job), eventType);
  let cluster: Promise<{ admin: Admin; partitions: PartitionCounts }> | undefined;
  let shared: Promise<Producer> | undefined;

  /** One connection for metadata and committed offsets; made anew after a failure. */
  async function connected(): Promise<{ admin: Admin; partitions: PartitionCounts }> {
    cluster ??= connectAdmin(client, connection, [config.topic, config.dead_letters], 'OUTPUT', clock);
    try {
      return await cluster;
    } catch (error) {
      cluster = undefined;
      throw error;
    }
  }

  async function forget(): Promise<void> {
    const last = cluster;
    cluster = undefined;
    await last?.then(({ admin }) => admin.disconnect()).catch(() => undefined);
  }

  /** At-least-once shares one producer: its requests for different partitions run side by side. */
  async function sharedProducer(): Promise<Producer> {
    shared ??= (async () => {
      const producer = client.producer({
        createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
        allowAutoTopicCreation: false,
        retry: retrySettings,
      });
      await producer.connect();
      return producer;
    })();
    try {
      return await shared;
    } catch (error) {
      shared = undefined;
      throw error;
    }
  }

  async function openOutput(ownership: Ownership): Promise<Output> {
    const { admin, partitions } = await connected();
    // Opening fences whoever owns the partition now: a former owner must not.
    if (ownership.revoked.aborted) throw revoked(ownership);
    const destination = destinationOf(ownership, partitions);
    if (options.delivery === 'at-least-once') {
      return openPlain(await sharedProducer(), ownership, destination);
    }
    return openTransactionalOutput(client, destination, {
      transactionalId: `${group}.${ownership.stream}.${ownership.partition}`,
      transactionTimeoutMs: config.transaction_timeout_ms,
      admin,
      group,
      clock,
      lastCommits,
      // Positions are kept as committed offsets, and brokers take those only for topics they have. A source that is no Kafka topic
      // (a file, which has one partition) borrows the first partition of the sink's own topic: no consumer of the group reads it.
      position: options.sourceIsKafka
        ? { topic: ownership.stream, partition: ownership.partition, mark: ownership.mark }
        : { topic: config.topic, partition: 0 },
    });
  }

  function openPlain(producer: Producer, ownership: Ownership, destination: Destination): Output {
    const sender = createSender(destination);
    return openPlainOutput(ownership, async (batch) => {
      try {
        await sender.send(producer, batch, clock.now());
      } catch (error) {
        throw brokerFault(error, `publishing for ${partitionName(ownership)}`, destination.brokers);
      }
    });
  }

  function destinationOf({ partition }: Ownership, counts: PartitionCounts): Destination {
    // A Kafka source's partition decides the output's, so that the order of each key is kept whatever hashed the keys; from
    // elsewhere, the keys are hashed as by Kafka's own Java client.
    const place = (topic: string) => {
      const partitions = counts.get(topic)!;
      return { topic, partitions, partition: options.sourceIsKafka ? partition % partitions : undefined };
    };
    return {
      events: { ...place(config.topic), layout },
      deadLetters: { ...place(config.dead_letters), layout: deadLetterLayout },
      maxMessageBytes: config.max_message_bytes,
      compression: config.compression,
      brokers: connection.brokers,
    };
  }

  return {
    async connect() {
      await connected();
    },
    async open(ownership) {
      const deadline = clock.monotonic() + connection.connect_timeout_ms;
      for (;;) {
        try {
          const output = await openOutput(ownership);
          outputs.add(output);
          return { ...output, close: () => closeOutput(output) };
        } catch (error) {
          await forget();
          if (error instanceof WeirError || isRefusal(error) || clock.monotonic() > deadline) {
            throw brokerFault(error, `opening the output of ${partitionName(ownership)}`, connection.brokers);
          }
          await clock.sleep(retryMs);
        }
      }
    },
    async close() {
      await Promise.all([...outputs].map(closeOutput));
      await shared?.then((producer) => producer.disconnect()).catch(() => undefined);
      shared = undefined;
      await forget();
    },
  };

  async function closeOutput(output: Output): Promise<void> {
    if (outputs.delete(output)) await output.close();
  }
}

function revoked(ownership: Ownership): WeirError {
  return new WeirError('FENCED', `partition ${partitionName(ownership)} is not owned by this process any more`);
}
