import type { Kafka } from 'kafkajs';
import { clusterOf } from './cluster.ts';
import { isRefusal, protocolType } from './faults.ts';
import { withPartitionsApart } from './fetch-answer.ts';
import { type BrokerCalls, errorFromCode, type FetchedMessage } from './internals.ts';

/** Where the first record stands that a transaction has sent to a partition. */
export interface TransactionPlace {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** What the partition's log says of the transaction; unknown: it does not reach back to it, or may not be read. */
export type TransactionEnd = 'open' | 'committed' | 'aborted' | 'unknown';

const readUncommitted = 0;
const maxBytes = 1 << 20;
const leaderNotAvailable = 5;

/**
 * How each partition has ended the transaction that it has a record of at the place: by the first marker of the record's producer behind it.
 * @throws what the client throws, also for a partition that nobody leads.
 */
export async function transactionEnds(
  client: Pick<Kafka, 'consumer'>,
  places: readonly TransactionPlace[],
): Promise<readonly TransactionEnd[]> {
  if (places.length === 0) return [];
  const cluster = clusterOf(client);
  try {
    await cluster.connect();
    for (const topic of new Set(places.map(({ topic }) => topic))) await cluster.addTargetTopic(topic);
    return await Promise.all(
      places.map(async (place) => {
        const { topic, partition } = place;
        const { leader = -1 } =
          cluster.findTopicPartitionMetadata(topic).find((of) => of.partitionId === partition) ?? {};
        if (leader < 0) throw errorFromCode(leaderNotAvailable);
        return endIn((await cluster.findBroker({ nodeId: String(leader) })) as unknown as BrokerCalls, place);
      }),
    );
  } finally {
    await cluster.disconnect().catch(() => undefined);
  }
}

async function endIn(broker: BrokerCalls, { topic, partition, offset }: TransactionPlace): Promise<TransactionEnd> {
  let producer: string | undefined;
  for (let at = offset; ; ) {
    const partitions = [{ partition, fetchOffset: String(at), maxBytes }];
    const query = { maxWaitTime: 0, minBytes: 1, isolationLevel: readUncommitted, topics: [{ topic, partitions }] };
    const answer = await withPartitionsApart(() => broker.fetch(query));
    const [{ errorCode, messages, next, undecodable, highWatermark }] = answer.responses[0].partitions;
    const error = errorCode === 0 ? undefined : errorFromCode(errorCode);
    if (undecodable !== undefined || isRefusal(error) || protocolType(error) === 'OFFSET_OUT_OF_RANGE')
      return 'unknown';
    if (error !== undefined) throw error;
    const read = messages.filter((message) => Number(message.offset) >= at);
    if (producer === undefined && Number(read[0]?.offset) !== offset) return 'unknown';
    producer ??= read[0].batchContext?.producerId;
    const marker = read.find((message) => message.isControlRecord && message.batchContext?.producerId === producer);
    if (marker !== undefined) return isCommit(marker) ? 'committed' : 'aborted';
    if (Math.max(at, next ?? 0) >= Number(highWatermark)) return 'open';
    // Brokers may hold back what there is.
    if (next === undefined) return 'unknown';
    at = next;
  }
}

/** A marker's key: its version, then 0 for an abort and 1 for a commit, two bytes each (Kafka's ControlRecordType). */
function isCommit({ key }: FetchedMessage): boolean {
  return key!.readInt16BE(2) === 1;
}
