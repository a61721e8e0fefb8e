import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { createReadStream, type ReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import Papa from 'papaparse';
import { describeError, WeirError } from '../../runtime/errors.ts';
import type { InputMark, RecordFormat } from '../ports.ts';
import type { FileSourceConfig } from './config.ts';
import { createFramer } from './framing.ts';

/** A file that can be read from its beginning any number of times. */
export interface InputFile {
  readonly format: RecordFormat;
  readonly mark: InputMark;
  /** The file's records, as many at a time as a chunk holds; only what is asked for is read, one chunk ahead. */
  records(): AsyncGenerator<Buffer[]>;
}

/**
 * Looks at a file: whether it is there, compressed or not, and which columns it has. A CSV header is no record.
 * @throws WeirError INPUT when it cannot be read or is not what its name says; CONFIG when its format is not known.
 */
export async function openInput(config: FileSourceConfig, maxRecordBytes: number): Promise<InputFile> {
  const { path, delimiter } = config;
  const isCsv = (config.format ?? formatByName(path)) === 'csv';
  const isGzip = await isGzipFile(path);
  const records = (skipped: number) =>
    readRecords(path, isGzip, skipped, maxRecordBytes, isCsv ? delimiter : undefined);
  const mark = await markOf(path);
  if (!isCsv) return { format: { type: 'json' }, mark, records: () => records(0) };
  const columns = await headerColumns(path, delimiter, records(0));
  return { format: { type: 'csv', columns, delimiter }, mark, records: () => records(1) };
}

function formatByName(path: string): 'jsonl' | 'csv' {
  if (/\.csv(\.gz)?$/i.test(path)) return 'csv';
  if (/\.(jsonl|ndjson|json)(\.gz)?$/i.test(path)) return 'jsonl';
  throw new WeirError(
    'CONFIG',
    `the format of ${path} does not show in its name: set source.file.format to jsonl or csv`,
  );
}

async function isGzipFile(path: string): Promise<boolean> {
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    // It is read again after every interruption, which a pipe cannot be.
    if (!(await file.stat()).isFile()) throw new Error('it is no regular file');
    const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    const isGzip = bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
    if (!isGzip && /\.gz$/i.test(path)) throw new Error('it is named .gz, but not compressed by gzip');
    return isGzip;
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await file?.close();
  }
}

const markBytes = 1 << 16;

/** How the file begins: so many bytes, and their hash. */
async function markOf(path: string): Promise<InputMark> {
  const textOf = async (bytes: number) => {
    const beginning = await readBeginning(path, bytes);
    return `${beginning.length} ${createHash('sha256').update(beginning).digest('hex')}`;
  };
  return {
    text: await textOf(markBytes),
    continues: async (text) => (await textOf(Number.parseInt(text, 10))) === text,
  };
}

async function readBeginning(path: string, bytes: number): Promise<Buffer> {
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    const beginning = Buffer.alloc(bytes);
    let length = 0;
    for (let read = -1; length < bytes && read !== 0; length += read) {
      read = (await file.read(beginning, length, bytes - length, length)).bytesRead;
    }
    return beginning.subarray(0, length);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await file?.close();
  }
}

async function headerColumns(path: string, delimiter: string, records: AsyncGenerator<Buffer[]>): Promise<string[]> {
  for await (const [header] of records) {
    if (!header) continue;
    await records.return(undefined);
    if (!isUtf8(header)) throw unreadable(path, new Error('its header row is not UTF-8'));
    const columns = Papa.parse<string[]>(header.toString('utf8'), { delimiter }).data[0] ?? [];
    return columns.map((column) => column.trim());
  }
  throw new WeirError('INPUT', `the CSV file ${path} is empty; it needs a header row with the column names`);
}

const chunkBytes = 1 << 18;

async function* readRecords(
  path: string,
  isGzip: boolean,
  skipped: number,
  maxRecordBytes: number,
  delimiter: string | undefined,
): AsyncGenerator<Buffer[]> {
  const framer = createFramer(maxRecordBytes, delimiter);
  const file: ReadStream = createReadStream(path, { highWaterMark: chunkBytes });
  const bytes: Readable = isGzip ? file.pipe(createGunzip({ chunkSize: chunkBytes })) : file;
  file.on('error', (error) => bytes.destroy(error));
  let toSkip = skipped;
  const withoutSkipped = (records: Buffer[]) => {
    if (toSkip === 0) return records;
    const kept = records.slice(toSkip);
    toSkip -= records.length - kept.length;
    return kept;
  };
  let isFirst = true;
  try {
    for await (const chunk of bytes) {
      yield withoutSkipped(framer.push(isFirst ? withoutByteOrderMark(chunk as Buffer) : (chunk as Buffer)));
      isFirst = false;
    }
    yield withoutSkipped(framer.end());
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    bytes.destroy();
    file.destroy();
    if (!file.closed) await new Promise<void>((resolve) => file.once('close', resolve));
  }
}

function withoutByteOrderMark(chunk: Buffer): Buffer {
  return chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf ? chunk.subarray(3) : chunk;
}

function unreadable(path: string, error: unknown): WeirError {
  return new WeirError('INPUT', `the input file ${path} cannot be read: ${causeOf(error)}`, { cause: error });
}

function causeOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'Z_BUF_ERROR') return 'its gzip data ends early: the file is not complete';
  if (code?.startsWith('Z_')) return `its gzip data is damaged (${describeError(error)})`;
  return describeError(error);
}
