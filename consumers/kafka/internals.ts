import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { Batch, Broker as PublicBroker } from 'kafkajs';

/**
 * Inner parts of kafkajs 2.2.4, for what its public surface has no place for. That is its last release and package.json names it
 * exactly; test/unit/kafka-client.test.ts fails when another version is installed, so that somebody looks here first.
 */
const require = createRequire(import.meta.url);

/** Writes protocol fields one after the other. */
export interface ProtocolEncoder {
  /** The memory written to, and how much of it is written. */
  buf: Buffer;
  offset: number;
  /** What is written. */
  readonly buffer: Buffer;
  writeInt8(value: number): this;
  writeInt16(value: number): this;
  writeInt32(value: number): this;
  writeString(value: string | null): this;
  writeBuffer(value: Buffer): this;
  writeEncoder(value: Pick<ProtocolEncoder, 'buf' | 'buffer'>): this;
  /** A compact string. */
  writeUVarIntString(value: string): this;
  /** A compact array of encoders. */
  writeUVarIntArray(values: readonly ProtocolEncoder[]): this;
  /** Without an argument: no tagged fields. */
  writeUVarIntBytes(value?: Buffer): this;
}

export interface ProtocolDecoder {
  readString(): string;
  /** Null for the length -1. */
  readBytes(): Buffer | null;
  readArray<T>(read: (decoder: ProtocolDecoder) => T): T[];
  readArrayAsync<T>(read: (decoder: ProtocolDecoder) => Promise<T>): Promise<T[]>;
  readInt16(): number;
  readInt32(): number;
  readInt64(): bigint;
  readUVarIntString(): string | null;
  readUVarIntArray<T>(read: (decoder: ProtocolDecoder) => T): T[] | null;
  readTaggedFields(): unknown;
}

export interface ProtocolRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
  readonly expectResponse?: () => boolean;
  encode(): Promise<Pick<ProtocolEncoder, 'buf' | 'buffer'>>;
}

export interface ProtocolCall {
  readonly request: ProtocolRequest;
  readonly response: { decode(raw: Buffer): Promise<unknown>; parse(data: never): Promise<unknown> };
}

/** One kind of request in the client's table: the versions it knows, and how each is written and read. */
export interface RequestDefinition<Arguments> {
  versions: string[];
  protocol(choice: { version: number }): (what: Arguments) => ProtocolCall;
}

export interface FetchedMessage {
  readonly offset: string;
  readonly key: Buffer | null;
  /** Never shown: the marker that ends a transaction, or a record of an aborted one (see repairs.ts). */
  isControlRecord: boolean;
  readonly batchContext?: { readonly producerId: string; readonly inTransaction: boolean };
}

export interface FetchedPartition {
  readonly partition: number;
  /** In the order in which they ended. */
  abortedTransactions?: readonly { readonly producerId: string; readonly firstOffset: string }[];
  readonly messages: readonly FetchedMessage[];
  readonly highWatermark: string;
  /** Offset behind the last batch: compaction leaves batches without their last records, or without any. Absent where it is not known. */
  readonly next?: number;
  /** What is wrong with this partition, where partitions were asked for apart (see fetch-answer.ts); 0 for nothing. */
  readonly errorCode: number;
  readonly undecodable?: UndecodableBatch;
}

export interface FetchAnswer {
  readonly responses: readonly { readonly topicName: string; readonly partitions: readonly FetchedPartition[] }[];
}

/** A record batch that is damaged, or compressed by an unknown codec. */
export interface UndecodableBatch {
  readonly offset: number;
  /** Offset behind its last record. */
  readonly next: number;
  readonly codec: string;
  readonly cause: unknown;
}

/** What the client keeps of a topic's partitions. */
export interface MetadataAnswer {
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number;
    readonly topic: string;
    /** `leader` is -1 where nobody leads the partition. */
    readonly partitionMetadata: readonly { readonly partitionErrorCode: number; readonly leader: number }[];
  }[];
}

/** What the client's types leave out of its inner cluster. */
export interface ClusterCalls {
  refreshMetadataIfNecessary(): Promise<void>;
  fetchTopicsOffset(
    topics: readonly {
      readonly topic: string;
      readonly fromBeginning: boolean;
      readonly partitions: readonly { readonly partition: number }[];
    }[],
  ): Promise<{ readonly partitions: readonly { readonly offset: string }[] }[]>;
}

export interface CoordinatorQuery {
  readonly groupId: string;
  /** 0 of a group, 1 of transactions. */
  readonly coordinatorType?: number;
}

export interface BrokerCalls {
  readonly brokerAddress: string;
  connect(): Promise<void>;
  fetch(query: object): Promise<FetchAnswer>;
  findGroupCoordinator(query: CoordinatorQuery): Promise<object>;
  addPartitionsToTxn(request: object): Promise<unknown>;
  addOffsetsToTxn(request: object): Promise<unknown>;
  txnOffsetCommit(request: object): Promise<unknown>;
  endTxn(request: object): Promise<unknown>;
}

/** One of a broker's connections, which is made again whenever it is wanted and not there. */
export interface ConnectionCalls {
  connect(): Promise<boolean>;
  disconnect(): Promise<boolean>;
  isConnected(): boolean;
  send(call: object): Promise<unknown>;
  socket?: Socket;
  /** What has come of an answer that is not whole yet, how much that is, and how much is needed to go on. */
  chunks: Buffer[];
  bytesBuffered: number;
  bytesNeeded: number;
}

export interface JoinedGroup {
  readonly generationId: number;
  readonly groupProtocol: string;
  readonly leaderId: string;
  readonly memberId: string;
  /** All of them for the leader, who shares the partitions out; none for the others. */
  readonly members: { memberId: string; memberMetadata: Buffer }[];
}

/** The broker that coordinates a group, with what the client's types leave out. */
export interface Coordinator extends PublicBroker {
  joinGroup(request: {
    groupId: string;
    sessionTimeout: number;
    rebalanceTimeout: number;
    /** Empty for a new member. */
    memberId: string;
    groupProtocols: { name: string; metadata: Buffer }[];
  }): Promise<JoinedGroup>;
  syncGroup(request: {
    groupId: string;
    generationId: number;
    memberId: string;
    groupAssignment: { memberId: string; memberAssignment: Buffer }[];
  }): Promise<{ readonly memberAssignment: Buffer }>;
  heartbeat(request: { groupId: string; groupGenerationId: number; memberId: string }): Promise<unknown>;
  leaveGroup(request: { groupId: string; memberId: string }): Promise<unknown>;
}

/** What one fetch gave of one partition. */
export interface FetchedBatch extends Pick<Batch, 'partition' | 'messages' | 'highWatermark' | 'lastOffset'> {
  /** The offset that was asked for. */
  readonly fetchedOffset: string;
  /** All records, also those that are not to be seen. */
  readonly rawMessages: readonly unknown[];
}

type Class<Instance> = { readonly prototype: Instance };

const load = <T>(path: string) => require(`kafkajs/src/${path}.js`) as T;

export const Encoder = load<(new () => ProtocolEncoder) & Class<ProtocolEncoder>>('protocol/encoder');
export const Decoder = load<new (bytes: Buffer) => ProtocolDecoder>('protocol/decoder');
/** One record batch of the present format, which must be whole. */
export const decodeRecordBatch = load<
  (batch: ProtocolDecoder) => Promise<{ readonly records: readonly FetchedMessage[] }>
>('protocol/recordBatch/v0/decoder');
/** Messages of the formats before. */
export const decodeMessageSet =
  load<(set: ProtocolDecoder, bytes: number) => Promise<readonly FetchedMessage[]>>('protocol/messageSet/decoder');
export const errorFromCode = load<{ createErrorFromCode(code: number): Error }>('protocol/error').createErrorFromCode;
/** The client's table of requests; what is put in is used by every client of the process. */
export const definitionOf = <Arguments>(name: 'fetch' | 'metadata' | 'offsetFetch' | 'produce') =>
  load<RequestDefinition<Arguments>>(`protocol/requests/${name}/index`);
export const Broker = load<Class<BrokerCalls>>('broker/index');
export const Connection = load<(new (options: object) => ConnectionCalls) & Class<ConnectionCalls>>(
  'network/connection',
);
export const Cluster =
  load<Class<{ findGroupCoordinatorMetadata(query: CoordinatorQuery): Promise<object> }>>('cluster/index');
/** Leaves out of an answer what is not to be seen: aborted records, markers, what lies before the offset. */
export const FetchBatch =
  load<new (topic: string, fetchedOffset: string, answer: object) => FetchedBatch>('consumer/batch');
