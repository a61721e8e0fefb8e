import type { Message } from 'kafkajs';
import { type Bytes, prepended } from './in-place.ts';
import { definitionOf, Encoder, type ProtocolCall } from './internals.ts';
import { type BatchSender, type EncodedRecords, writeBatchHead } from './record-batch.ts';

/** One partition's share of a topic's messages, where the client holds an array of them: all it asks for is how many. */
class PartitionMessages {
  readonly length: number;
  readonly records: EncodedRecords;

  constructor(records: EncodedRecords) {
    this.length = records.count;
    this.records = records;
  }
}

/**
 * Encoded records as "messages" of one topic. The client looks for one without a value, groups the messages by partition, and hands
 * each group on to the request that writes them: it does not look into one.
 */
export function encodedMessages(byPartition: ReadonlyMap<number, EncodedRecords>): Message[] {
  const groups = Object.fromEntries(
    [...byPartition].map(([partition, records]) => [partition, new PartitionMessages(records)]),
  );
  return { find: () => undefined, reduce: () => groups } as unknown as Message[];
}

interface ProduceArguments {
  readonly acks: number;
  readonly timeout: number;
  readonly transactionalId?: string;
  readonly producerId: string | number;
  readonly producerEpoch: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly messages: unknown;
      readonly firstSequence: number;
    }[];
  }[];
}

let isInstalled = false;

/** Teaches the client's produce request to send encoded records; messages of any other kind it sends as before. */
export function installEncodedMessages(): void {
  if (isInstalled) return;
  isInstalled = true;
  const definition = definitionOf<ProduceArguments>('produce');
  const { protocol } = definition;
  definition.protocol = (choice) => {
    const produce = protocol(choice);
    return (what) => {
      const call = produce(what);
      const { messages } = what.topicData[0].partitions[0];
      return messages instanceof PartitionMessages ? withEncoded(call, what) : call;
    };
  };
}

function withEncoded(call: ProtocolCall, what: ProduceArguments): ProtocolCall {
  return { ...call, request: { ...call.request, encode: async () => encodeRequest(what) } };
}

/** Versions 3 to 8: transactional id, acks, timeout, topics of partitions of one batch each. */
function encodeRequest(what: ProduceArguments): Bytes {
  const { topicData } = what;
  const request = new Encoder()
    .writeString(what.transactionalId ?? null)
    .writeInt16(what.acks)
    .writeInt32(what.timeout)
    .writeInt32(topicData.length);
  const isAlone = topicData.length === 1 && topicData[0].partitions.length === 1;
  let whole: Bytes = request;
  for (const { topic, partitions } of topicData) {
    request.writeString(topic).writeInt32(partitions.length);
    for (const { partition, messages, firstSequence } of partitions) {
      const { records } = messages as PartitionMessages;
      writeBatchHead(records, senderOf(what, firstSequence));
      request.writeInt32(partition).writeInt32(records.bytes.length);
      if (isAlone) whole = prepended(request.buffer, records.bytes);
      else request.writeBuffer(records.bytes);
    }
  }
  return whole;
}

function senderOf(
  { transactionalId, producerId, producerEpoch }: ProduceArguments,
  firstSequence: number,
): BatchSender {
  return {
    isTransactional: transactionalId !== undefined,
    producerId: BigInt(producerId),
    producerEpoch,
    firstSequence,
  };
}
