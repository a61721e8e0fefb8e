import kafkajs, { type Producer } from 'kafkajs';
import type { KafkaClient } from './client.ts';

/** A producer of transactions, for one after the other. */
export function transactionalProducer(
  client: KafkaClient,
  transactionalId: string,
  transactionTimeout: number,
): Producer {
  return client.producer({
    transactionalId,
    transactionTimeout,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    // The waits for a former commit's markers are a few milliseconds; together the retries last about four seconds.
    retry: { initialRetryTime: 5, multiplier: 2, factor: 0.2, maxRetryTime: 500, retries: 14 },
  });
}

/** Whoever had the transactional id before can commit nothing more, and what it left open is aborted. */
export async function takeOver(producer: Producer): Promise<void> {
  await producer.connect();
  const transaction = await producer.transaction();
  await transaction.abort();
}
