import { AsyncLocalStorage } from 'node:async_hooks';
import { crc32c } from './crc32c.ts';
import {
  Decoder,
  decodeMessageSet,
  decodeRecordBatch,
  definitionOf,
  type FetchedMessage,
  type FetchedPartition,
  type ProtocolDecoder,
  type UndecodableBatch,
} from './internals.ts';

const apart = new AsyncLocalStorage<true>();

/** Within `ask`, what is wrong with one partition of a fetch is told with that partition; else the whole fetch fails, as the client has it. */
export function withPartitionsApart<T>(ask: () => Promise<T>): Promise<T> {
  return apart.run(true, ask);
}

/** The newest that the client knows, and brokers since 2.3. */
const version = 11;
let isInstalled = false;

export function installPartitionsApart(): void {
  if (isInstalled) return;
  isInstalled = true;
  const definition = definitionOf<unknown>('fetch');
  const { protocol } = definition;
  definition.protocol = (choice) => {
    const fetch = protocol(choice);
    return (what) => {
      const call = fetch(what);
      if (choice.version !== version || apart.getStore() === undefined) return call;
      return { ...call, response: { decode: decodeAnswer, parse: async (answer: unknown) => answer } };
    };
  };
}

async function decodeAnswer(raw: Buffer) {
  const decoder = new Decoder(raw);
  const clientSideThrottleTime = decoder.readInt32();
  const errorCode = decoder.readInt16();
  const sessionId = decoder.readInt32();
  const responses = await decoder.readArrayAsync(async () => ({
    topicName: decoder.readString(),
    partitions: await decoder.readArrayAsync(decodePartition),
  }));
  return { throttleTime: 0, clientSideThrottleTime, errorCode, sessionId, responses };
}

async function decodePartition(decoder: ProtocolDecoder): Promise<FetchedPartition> {
  const partition = decoder.readInt32();
  const errorCode = decoder.readInt16();
  const highWatermark = String(decoder.readInt64());
  // The last stable offset and the log's beginning.
  decoder.readInt64();
  decoder.readInt64();
  const abortedTransactions = decoder.readArray(() => ({
    producerId: String(decoder.readInt64()),
    firstOffset: String(decoder.readInt64()),
  }));
  // The replica to read from instead.
  decoder.readInt32();
  const records = await decodeRecords(decoder.readBytes() ?? Buffer.alloc(0));
  return { partition, errorCode, highWatermark, abortedTransactions, ...records };
}

/** A batch's offset, and its length without these two. */
const frontBytes = 12;
const magicAt = 16;
const checksumAt = 17;
/** What comes from here on the checksum is of. */
const attributesAt = 21;
const lastDeltaAt = 23;
/** A batch without records. */
const leastBytes = 61;
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];

/** All records up to a batch that cannot be decoded; that batch, when it is the first. */
export async function decodeRecords(
  bytes: Buffer,
): Promise<Pick<FetchedPartition, 'messages' | 'next' | 'undecodable'>> {
  const messages: FetchedMessage[] = [];
  let next: number | undefined;
  for (let at = 0; at + leastBytes <= bytes.length; ) {
    const end = at + frontBytes + bytes.readInt32BE(at + 8);
    // The last one is cut off where the answer became too long.
    if (end > bytes.length) break;
    try {
      if (end - at < leastBytes) throw new RangeError(`a length of ${end - at} bytes is too short`);
      // Older formats have no batches around their messages: all of them at once.
      if (bytes[at + magicAt] < 2) return { messages: await decodeMessageSet(new Decoder(bytes), bytes.length) };
      // The client takes what it has no codec for as not compressed.
      if (codecAt(bytes, at) >= codecs.length) throw new RangeError('no such compression is known');
      // Nor does it look whether they are the bytes that were written.
      if (crc32c(bytes, at + attributesAt, end) !== bytes.readUInt32BE(at + checksumAt))
        throw new RangeError('its checksum does not fit its bytes');
      const { records } = await decodeRecordBatch(new Decoder(bytes.subarray(at, end)));
      for (const record of records) messages.push(record);
    } catch (cause) {
      // What comes before it is read first.
      if (next !== undefined) return { messages, next };
      return { messages, undecodable: undecodable(bytes.subarray(at), cause) };
    }
    next = nextAt(bytes, at);
    at = end;
  }
  return { messages, next };
}

/** Offset behind a batch. */
function nextAt(bytes: Buffer, batchAt: number): number {
  return Number(bytes.readBigInt64BE(batchAt)) + Math.max(0, bytes.readInt32BE(batchAt + lastDeltaAt)) + 1;
}

function undecodable(batch: Buffer, cause: unknown): UndecodableBatch {
  const offset = Number(batch.readBigInt64BE(0));
  const codec = codecAt(batch, 0);
  return { offset, next: nextAt(batch, 0), codec: codecs[codec] ?? `number ${codec}`, cause };
}

function codecAt(bytes: Buffer, batchAt: number): number {
  return bytes.readInt16BE(batchAt + attributesAt) & 7;
}
