import type { Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { connectAdmin, retrySettings } from './client.ts';
import type { KafkaConnection } from './config.ts';
import { brokerFault } from './faults.ts';

export interface ReadTopicOptions {
  readonly connection: KafkaConnection;
  readonly topic: string;
  /** A consumer group of this reading alone; removed when it is done. */
  readonly group: string;
  readonly clock: Clock;
}

/**
 * Hands every record of a topic that is committed by now to `visit`, each partition in order; holds no more than one fetch at a time.
 * @throws WeirError OUTPUT when the topic does not exist, BROKER when the brokers fail or refuse; else what `visit` throws.
 */
export async function readTopic(
  client: Kafka,
  { connection, topic, group, clock }: ReadTopicOptions,
  visit: (message: KafkaMessage, partition: number) => Promise<void> | void,
): Promise<void> {
  const { admin } = await connectAdmin(client, connection, [topic], 'OUTPUT', clock);
  const consumer = client.consumer({
    groupId: group,
    readUncommitted: false,
    maxWaitTimeInMs: 50,
    allowAutoTopicCreation: false,
    retry: { ...retrySettings, restartOnFailure: async () => false },
  });
  try {
    const ranges = await admin.fetchTopicOffsets(topic);
    const ends = new Map(ranges.filter(({ low, high }) => low !== high).map((of) => [of.partition, Number(of.high)]));
    if (ends.size > 0) await consumeThrough(consumer, topic, ends, visit);
  } catch (error) {
    throw brokerFault(error, `reading topic ${topic}`, connection.brokers);
  } finally {
    await consumer.disconnect().catch(() => undefined);
    await admin.deleteGroups([group]).catch(() => undefined);
    await admin.disconnect().catch(() => undefined);
  }
}

async function consumeThrough(
  consumer: Consumer,
  topic: string,
  ends: Map<number, number>,
  visit: (message: KafkaMessage, partition: number) => Promise<void> | void,
): Promise<void> {
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  let hasFailed = false;
  /** By partition: behind the last record that was handed over. Who joins anew begins at the log's start again. */
  const next = new Map<number, number>();
  await new Promise<void>((resolve, reject) => {
    const eachBatch = async ({ batch: { partition, messages }, heartbeat }: EachBatchPayload) => {
      const end = ends.get(partition);
      if (end === undefined || hasFailed) return;
      try {
        for (const message of messages) {
          const offset = Number(message.offset);
          if (offset >= end) break;
          if (offset < (next.get(partition) ?? 0)) continue;
          await visit(message, partition);
          next.set(partition, offset + 1);
          await heartbeat();
        }
      } catch (error) {
        hasFailed = true;
        reject(error);
      }
    };
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      if (Number(payload.lastOffset) + 1 >= (ends.get(payload.partition) ?? 0)) ends.delete(payload.partition);
      if (ends.size === 0) resolve();
    });
    consumer.run({ autoCommit: false, eachBatch }).catch(reject);
  });
}
