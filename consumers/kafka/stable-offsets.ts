import { AsyncLocalStorage } from 'node:async_hooks';
import {
  Decoder,
  definitionOf,
  Encoder,
  errorFromCode,
  type ProtocolDecoder,
  type ProtocolEncoder,
} from './internals.ts';

interface OffsetQuery {
  readonly groupId: string;
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number }[];
  }[];
}

/** What stands for the offset of a partition for which a transaction has offsets that are neither committed nor aborted yet. */
export const unstableOffset = '-3';

const carriedOut = new AsyncLocalStorage<true>();

/** Within `ask`, offsets are those of the transactions that are carried out by now, whatever else is decided. */
export function askForCarriedOut<T>(ask: () => Promise<T>): Promise<T> {
  return carriedOut.run(true, ask);
}

/** Whether the question that is being asked is one of those. */
export function isAskingForCarriedOut(): boolean {
  return carriedOut.getStore() === true;
}

const unstableOffsetCommit = 88;
const apiKey = 9;

/**
 * Adds version 7 of the request for a group's offsets to those that the client knows (up to 4). It is the first that asks for stable
 * ones (KIP-447): earlier versions answer with the offset before a transaction whose commit is decided but not yet carried out, and
 * who took that for the position would publish the transaction's input again. Brokers know it since 2.5.
 */
export function installStableOffsets(): void {
  const definition = definitionOf<OffsetQuery>('offsetFetch');
  if (definition.versions.includes('7')) return;
  const { protocol } = definition;
  definition.versions = [...definition.versions, '7'];
  definition.protocol = ({ version }) =>
    version === 7 ? (query) => offsets(query, !isAskingForCarriedOut()) : protocol({ version: Math.min(version, 4) });
}

/** Request and response of version 7. A partition's own error is thrown, but for the instability. */
const offsets = ({ groupId, topics }: OffsetQuery, isStable: boolean) => ({
  request: {
    apiKey,
    apiVersion: 7,
    apiName: 'OffsetFetch',
    encode: async () =>
      new Encoder()
        .writeUVarIntBytes()
        .writeUVarIntString(groupId)
        .writeUVarIntArray(topics.map(encodeTopic))
        .writeInt8(isStable ? 1 : 0)
        .writeUVarIntBytes(),
  },
  response: {
    decode: async (raw: Buffer) => {
      const decoder = new Decoder(raw);
      decoder.readTaggedFields();
      const clientSideThrottleTime = decoder.readInt32();
      const responses = decoder.readUVarIntArray(decodeTopic) ?? [];
      return { throttleTime: 0, clientSideThrottleTime, responses, errorCode: decoder.readInt16() };
    },
    parse: async (data: { errorCode: number; responses: ReturnType<typeof decodeTopic>[] }) => {
      const codes = [
        data.errorCode,
        ...data.responses.flatMap(({ partitions }) => partitions.map((of) => of.errorCode)),
      ];
      const failed = codes.find((code) => code !== 0 && code !== unstableOffsetCommit);
      if (failed !== undefined) throw errorFromCode(failed);
      return data;
    },
  },
});

function encodeTopic({ topic, partitions }: OffsetQuery['topics'][number]): ProtocolEncoder {
  return new Encoder()
    .writeUVarIntString(topic)
    .writeUVarIntArray(partitions.map(({ partition }) => new Encoder().writeInt32(partition)))
    .writeUVarIntBytes();
}

function decodeTopic(decoder: ProtocolDecoder) {
  const topic = decoder.readUVarIntString()!;
  const partitions = decoder.readUVarIntArray(decodePartition) ?? [];
  decoder.readTaggedFields();
  return { topic, partitions };
}

function decodePartition(decoder: ProtocolDecoder) {
  const partition = decoder.readInt32();
  const offset = String(decoder.readInt64());
  decoder.readInt32();
  const metadata = decoder.readUVarIntString();
  const errorCode = decoder.readInt16();
  decoder.readTaggedFields();
  return { partition, offset: errorCode === unstableOffsetCommit ? unstableOffset : offset, metadata, errorCode };
}
