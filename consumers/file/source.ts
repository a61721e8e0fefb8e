import { createReadStream, type ReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import Papa from 'papaparse';
import { describeError, WeirError } from '../../runtime/errors.ts';
import type { Ownership, RawBatch, RecordFormat, Source } from '../ports.ts';
import type { FileSourceConfig } from './config.ts';
import { createFramer } from './framing.ts';

export interface FileSourceOptions {
  /** Most records of a batch. */
  readonly maxEvents: number;
  /** Records longer than this are cut just behind it. Bytes. */
  readonly maxRecordBytes: number;
}

/**
 * A file as a stream of one partition: offset n is the n-th record, from 0; a CSV header is no record. It is read once, to its end. The
 * position is the sink's to keep.
 * @throws WeirError INPUT when the file is missing, unreadable, or not what its name says.
 */
export async function createFileSource(config: FileSourceConfig, options: FileSourceOptions): Promise<Source> {
  const isGzip = await startsAsGzip(config.path);
  const isCsv = (config.format ?? formatByName(config.path)) === 'csv';
  const openRecords = () => readRecords(config.path, isGzip, isCsv, options.maxRecordBytes);
  const revoke = new AbortController();
  const format = isCsv ? await csvFormat(config, openRecords()) : ({ type: 'json' } as const);
  return {
    async *ownerships() {
      yield createOwnership(
        basename(config.path),
        format,
        openRecords,
        isCsv ? 1 : 0,
        options.maxEvents,
        revoke.signal,
      );
    },
    async close() {
      revoke.abort();
    },
  };
}

function formatByName(path: string): 'jsonl' | 'csv' {
  if (/\.csv(\.gz)?$/i.test(path)) return 'csv';
  if (/\.(jsonl|ndjson|json)(\.gz)?$/i.test(path)) return 'jsonl';
  throw new WeirError(
    'CONFIG',
    `the format of ${path} does not show in its name: set source.file.format to jsonl or csv`,
  );
}

async function startsAsGzip(path: string): Promise<boolean> {
  try {
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
      return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): WeirError {
  return new WeirError('INPUT', `the input file ${path} cannot be read: ${describeError(error)}`, { cause: error });
}

async function csvFormat(
  { path, delimiter }: FileSourceConfig,
  records: AsyncGenerator<Buffer[]>,
): Promise<RecordFormat> {
  for await (const [header] of records) {
    if (!header) continue;
    const columns = Papa.parse<string[]>(header.toString('utf8'), { delimiter }).data[0];
    await records.return(undefined);
    return { type: 'csv', columns: columns.map((column) => column.trim()), delimiter };
  }
  throw new WeirError('INPUT', `the CSV file ${path} is empty; it needs a header row with the column names`);
}

const chunkBytes = 1 << 18;

/** The file's records, chunk by chunk; only what is asked for is read, one chunk ahead. */
async function* readRecords(
  path: string,
  isGzip: boolean,
  isCsv: boolean,
  limitBytes: number,
): AsyncGenerator<Buffer[]> {
  const framer = createFramer(isCsv, limitBytes);
  const file: ReadStream = createReadStream(path, { highWaterMark: chunkBytes });
  const bytes: Readable = isGzip ? file.pipe(createGunzip({ chunkSize: chunkBytes })) : file;
  file.on('error', (error) => bytes.destroy(error));
  let isFirst = true;
  try {
    for await (const chunk of bytes) {
      yield framer.push(isFirst ? withoutByteOrderMark(chunk as Buffer) : (chunk as Buffer));
      isFirst = false;
    }
    yield framer.end();
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    file.destroy();
    bytes.destroy();
  }
}

function withoutByteOrderMark(chunk: Buffer): Buffer {
  return chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf ? chunk.subarray(3) : chunk;
}

function createOwnership(
  stream: string,
  format: RecordFormat,
  openRecords: () => AsyncGenerator<Buffer[]>,
  headerRecords: number,
  maxEvents: number,
  revoked: AbortSignal,
): Ownership {
  let records: AsyncGenerator<Buffer[]> | undefined;
  let pending: Buffer[] = [];
  let taken = 0;
  let next = 0;
  let end = Number.POSITIVE_INFINITY;

  async function restart(): Promise<void> {
    await records?.return(undefined);
    records = openRecords();
    pending = [];
    taken = 0;
    next = -headerRecords;
  }

  /** Makes sure that a record is pending; false at the end of the file. */
  async function refill(): Promise<boolean> {
    while (taken >= pending.length) {
      const { done, value } = await records!.next();
      if (done) {
        end = next;
        return false;
      }
      pending = value;
      taken = 0;
    }
    return true;
  }

  async function seek(position: number): Promise<void> {
    if (!records || next > position) await restart();
    while (next < position && (await refill())) {
      const skipped = Math.min(position - next, pending.length - taken);
      taken += skipped;
      next += skipped;
    }
  }

  return {
    stream,
    partition: 0,
    partitions: 1,
    format,
    revoked,
    range: async () => ({ earliest: 0, end }),
    async read(position): Promise<RawBatch> {
      if (revoked.aborted) throw new WeirError('FENCED', `the file ${stream} was closed`);
      await seek(position);
      const values: Buffer[] = [];
      while (values.length < maxEvents && (values.length === 0 || taken < pending.length) && (await refill())) {
        const part = pending.slice(taken, taken + maxEvents - values.length);
        for (const value of part) values.push(value);
        taken += part.length;
        next += part.length;
      }
      const first = next - values.length;
      return {
        values,
        keys: values.map(() => null),
        offsets: values.map((_, index) => first + index),
        timestamps: values.map(() => Number.NaN),
        next: Math.max(next, position),
        end,
      };
    },
    checkpointed: async () => undefined,
    async checkpoint() {
      throw new WeirError('INTERNAL', 'a file keeps no position; the sink has to');
    },
    async release() {
      await records?.return(undefined);
      records = undefined;
    },
  };
}
