import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parse } from 'yaml';
import { eventConfig } from '../consumers/decode/config.ts';
import { createDecoder, type Decoder } from '../consumers/decode/decoder.ts';
import { fileSourceConfig } from '../consumers/file/config.ts';
import { createFileSource } from '../consumers/file/source.ts';
import type { RawBatch } from '../consumers/ports.ts';
import { handbookHeader, readHandbook } from '../test/support/handbook.ts';
import { jsonRecord } from './data.ts';
import { measure } from './measure.ts';

const events = 100_000;
const batchEvents = 1_000;
const at = { stream: 'bench', partition: 0 };

/** Record bytes to columns: from memory as a broker gives them, and from files with reading, inflating and cutting included. */
export async function benchDecode(runs: number, only: (name: string) => boolean): Promise<void> {
  const rows = await readHandbook(events);
  if (only('decode.json')) {
    const decoder = createDecoder(exampleEvent('kafka.yaml'), { type: 'json' });
    const batches = rawBatches(rows.map((row) => jsonRecord(row)));
    await measure('decode.json', runs, events, () => decodeAll(decoder, batches));
  }
  if (only('decode.csv')) {
    const columns = handbookHeader.split(',');
    const decoder = createDecoder(exampleEvent('weir.yaml'), { type: 'csv', columns, delimiter: ',' });
    const batches = rawBatches(rows.map((row) => row.line));
    await measure('decode.csv', runs, events, () => decodeAll(decoder, batches));
  }
  if (only('decode.file.csv.gz')) {
    const csv = [handbookHeader, ...rows.map((row) => row.line)].join('\n');
    await benchFile('decode.file.csv.gz', runs, 'rows.csv.gz', gzipSync(csv), 'weir.yaml');
  }
  if (only('decode.file.jsonl')) {
    const lines = rows.map((row) => jsonRecord(row)).join('\n');
    await benchFile('decode.file.jsonl', runs, 'rows.jsonl', Buffer.from(lines), 'kafka.yaml');
  }
}

async function benchFile(name: string, runs: number, file: string, content: Buffer, example: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  try {
    const path = join(folder, file);
    writeFileSync(path, content);
    await measure(name, runs, events, () => decodeFile(path, example));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function decodeFile(path: string, example: string): Promise<void> {
  const source = await createFileSource(fileSourceConfig.parse({ path }), {
    maxEvents: batchEvents,
    maxRecordBytes: 1 << 20,
  });
  let count = 0;
  for await (const ownership of source.ownerships(new AbortController().signal)) {
    const decoder = createDecoder(exampleEvent(example), ownership.format);
    for (let position = 0, end = Number.POSITIVE_INFINITY; position < end; ) {
      const raw = await ownership.read(position);
      count += decoder.decode(raw, ownership).batch.count;
      position = raw.next;
      end = raw.end;
    }
  }
  await source.close();
  expectCount(count);
}

function decodeAll(decoder: Decoder, batches: readonly RawBatch[]): void {
  let count = 0;
  for (const raw of batches) count += decoder.decode(raw, at).batch.count;
  expectCount(count);
}

function expectCount(count: number): void {
  if (count !== events) throw new Error(`decoded ${count} of ${events} events`);
}

function exampleEvent(file: string) {
  return eventConfig.parse(parse(readFileSync(new URL(`../examples/handbook/${file}`, import.meta.url), 'utf8')).event);
}

/** Records as a broker client gives them: views of one fetched buffer per batch. */
function rawBatches(records: readonly string[]): RawBatch[] {
  const batches: RawBatch[] = [];
  for (let first = 0; first < records.length; first += batchEvents) {
    const part = records.slice(first, first + batchEvents);
    const fetched = Buffer.from(part.join(''));
    let from = 0;
    const values = part.map((record) => {
      const value = fetched.subarray(from, from + record.length);
      from += record.length;
      return value;
    });
    batches.push({
      values,
      keys: part.map(() => null),
      offsets: part.map((_, index) => first + index),
      timestamps: part.map(() => Number.NaN),
      next: first + part.length,
      end: records.length,
    });
  }
  return batches;
}
