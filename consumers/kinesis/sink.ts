import { isUtf8 } from 'node:buffer';
import { hash, randomBytes } from 'node:crypto';
import {
  DescribeStreamSummaryCommand,
  InvalidArgumentException,
  type KinesisClient,
  PutRecordsCommand,
  type PutRecordsResultEntry,
  ResourceNotFoundException,
} from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';
import { structuredEvent } from '../../scoring/cloud-event.ts';
import { fittingDeadLetterLine } from '../dead-letter-line.ts';
import { openPlainOutput } from '../plain-output.ts';
import {
  type DeadLetter,
  type Output,
  type OutputBatch,
  type OutputEvent,
  type Ownership,
  partitionName,
  type Sink,
} from '../ports.ts';
import { type Connection, kinesisClient } from './aws.ts';
import type { KinesisSinkConfig } from './config.ts';
import { awsFault, faultName, isThrottled } from './faults.ts';
import { type Entry, type PutAnswer, putInOrder, RefusedEntries } from './put-records.ts';
import { type OnRequest, watchRequests } from './requests.ts';

export interface KinesisSinkOptions {
  readonly connection: Connection;
  readonly job: string;
  readonly clock: Clock;
  /** Told how many records were refused for too much throughput. */
  readonly onThrottled?: (records: number) => void;
  /** Told of each request to Kinesis. */
  readonly onRequest?: OnRequest;
}

export interface KinesisSink extends Sink {
  /** @throws WeirError OUTPUT when a stream is missing, CONFIG when a permission is, BROKER when Kinesis cannot be asked. */
  connect(): Promise<void>;
}

const requestMs = 10_000;

/**
 * Risk events and dead letters as records of two streams, at least once: the position is the ownership's checkpoint, made once all of a
 * batch is put. A record is one CloudEvent in structured JSON, since Kinesis has no headers.
 */
export function createKinesisSink(config: KinesisSinkConfig, options: KinesisSinkOptions): KinesisSink {
  const { clock, job } = options;
  const client = kinesisClient(options.connection, requestMs);
  if (options.onRequest !== undefined) watchRequests(client, 'kinesis', options.onRequest);
  const random = seededRandom(randomBytes(4).readUInt32LE());
  const outputs = new Set<Output>();

  function putAll(stream: string, entries: readonly Entry[]): Promise<void> {
    return putInOrder(entries, {
      put: (part) => put(client, stream, part),
      mostBytes: config.max_request_bytes,
      patienceMs: config.patience_ms,
      clock,
      random,
      onThrottled: (records) => options.onThrottled?.(records),
    });
  }

  async function send({ events, deadLetters }: OutputBatch, ownership: Ownership): Promise<void> {
    try {
      await Promise.all([
        putAll(
          config.stream,
          events.map((event) => eventEntry(job, event, config.max_record_bytes)),
        ),
        putAll(
          config.dead_letters,
          deadLetters.map((letter) => letterEntry(letter, config.max_record_bytes)),
        ),
      ]);
    } catch (error) {
      throw outputFault(error, `publishing for ${partitionName(ownership)}`);
    }
  }

  return {
    async connect() {
      for (const stream of [config.stream, config.dead_letters]) await demandStream(client, stream);
    },
    async open(ownership) {
      const output = openPlainOutput(ownership, (batch) => send(batch, ownership));
      outputs.add(output);
      return {
        ...output,
        async close() {
          if (outputs.delete(output)) await output.close();
        },
      };
    },
    async close() {
      await Promise.all([...outputs].map((output) => output.close()));
      outputs.clear();
      client.destroy();
    },
  };
}

/** By one request. @throws WeirError BROKER when Kinesis does not answer for each of them; else as it answers. */
export async function putEntries(
  client: KinesisClient,
  StreamName: string,
  entries: readonly Entry[],
): Promise<PutRecordsResultEntry[]> {
  const records = entries.map(({ partitionKey, data }) => ({ PartitionKey: partitionKey, Data: data }));
  const { Records = [] } = await client.send(new PutRecordsCommand({ StreamName, Records: records }));
  if (Records.length === entries.length) return Records;
  throw new WeirError('BROKER', `Kinesis answers for ${Records.length} of ${entries.length} records to ${StreamName}`);
}

async function put(client: KinesisClient, stream: string, entries: readonly Entry[]): Promise<PutAnswer> {
  try {
    return (await putEntries(client, stream, entries)).map(({ ErrorCode }) => ErrorCode);
  } catch (error) {
    // Of the stream's key, or the whole request: none was taken.
    if (isThrottled(error)) return entries.map(() => faultName(error));
    throw error;
  }
}

async function demandStream(client: KinesisClient, StreamName: string): Promise<void> {
  try {
    await client.send(new DescribeStreamSummaryCommand({ StreamName }));
  } catch (error) {
    throw outputFault(error, `looking for stream ${StreamName}`);
  }
}

export function outputFault(error: unknown, doing: string): WeirError {
  if (error instanceof RefusedEntries) {
    const advice = 'the stream has too few shards, or Kinesis is disturbed; it is tried again';
    return new WeirError('BROKER', `Kinesis failed while ${doing}: ${error.message}: ${advice}`);
  }
  if (error instanceof InvalidArgumentException) {
    const advice = 'max_record_bytes and max_request_bytes must not exceed what the streams allow';
    return new WeirError('CONFIG', `Kinesis refuses the records (${doing}): ${advice}`, { cause: error });
  }
  if (error instanceof ResourceNotFoundException) {
    const example = 'aws kinesis create-stream --stream-name NAME --shard-count 4';
    return new WeirError(
      'OUTPUT',
      `a stream of sink.kinesis does not exist (${doing}); create it, for example: ${example}`,
    );
  }
  return awsFault(error, 'Kinesis', doing);
}

/** @throws WeirError OUTPUT when the event is longer than a record may be: cut, it would be none any more. */
function eventEntry(job: string, event: OutputEvent, mostBytes: number): Entry {
  const partitionKey = partitionKeyOf(event.key) ?? event.id;
  const data = Buffer.concat(structuredEvent(job, event));
  const bytes = Buffer.byteLength(partitionKey) + data.length;
  if (bytes <= mostBytes) return { partitionKey, data };
  const advice = 'raise it as far as the stream allows, or name fewer features';
  throw new WeirError(
    'OUTPUT',
    `the risk event ${event.id} takes ${bytes} bytes with its key, more than sink.kinesis.max_record_bytes, ${mostBytes}; ${advice}`,
  );
}

function letterEntry(letter: DeadLetter, mostBytes: number): Entry {
  const { stream, partition, offset } = letter;
  const partitionKey = partitionKeyOf(letter.key) ?? `${stream}:${partition}:${offset}`;
  return {
    partitionKey,
    data: Buffer.from(fittingDeadLetterLine(letter, mostBytes - Buffer.byteLength(partitionKey))),
  };
}

/** The record's key as Kinesis takes it, 1 to 256 characters: a digest of any other. */
export function partitionKeyOf(key: Buffer | null): string | undefined {
  if (key === null || key.length === 0) return undefined;
  const text = isUtf8(key) ? key.toString('utf8') : '';
  return text !== '' && text.length <= 256 ? text : hash('sha256', key, 'hex');
}
