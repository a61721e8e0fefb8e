import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { fileSourceConfig } from '../../consumers/file/config.ts';
import { createFileSink } from '../../consumers/file/sink.ts';
import { createFileSource } from '../../consumers/file/source.ts';
import type { Ownership, Source } from '../../consumers/ports.ts';
import {
  describeSourceContract,
  drain,
  firstOwnership,
  numbered,
  type SourceRecord,
  texts,
} from '../contract/source.ts';

const folders: string[] = [];
const sources: Source[] = [];
afterEach(async () => {
  for (const source of sources.splice(0)) await source.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A file of that name and content in a folder of its own. */
function fileWith(name: string, content: string | Buffer): string {
  const folder = mkdtempSync(join(tmpdir(), 'weir-source-'));
  folders.push(folder);
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function open(path: string, settings: object = {}, maxEvents = 100, maxRecordBytes = 10_000): Source {
  const source = createFileSource(fileSourceConfig.parse({ path, ...settings }), { maxEvents, maxRecordBytes });
  sources.push(source);
  return source;
}

const own = (path: string, settings?: object, maxEvents?: number, maxRecordBytes?: number): Promise<Ownership> =>
  firstOwnership(open(path, settings, maxEvents, maxRecordBytes), new AbortController().signal);

const readAll = async (path: string, settings?: object) => (await drain(await own(path, settings), 0)).values;

const lines = (records: readonly SourceRecord[]) => records.map(({ value }) => `${value}\n`).join('');

const layouts: [string, (records: readonly SourceRecord[]) => string | Buffer][] = [
  ['records.jsonl', lines],
  ['records.jsonl.gz', (records) => gzipSync(lines(records))],
  ['records.csv', (records) => `value\n${lines(records)}`],
  ['records.csv.gz', (records) => gzipSync(`value\n${lines(records)}`)],
];
for (const [name, write] of layouts) {
  describeSourceContract(`the file source on ${name}`, {
    hasKeys: false,
    keepsCheckpoint: false,
    async create(records) {
      const path = fileWith(name, write(records));
      const config = fileSourceConfig.parse({ path });
      return {
        open: ({ maxEvents }) => createFileSource(config, { maxEvents, maxRecordBytes: 10_000 }),
        remove: async () => {},
      };
    },
  });
}

describe('the file source', () => {
  it('tells the format by the name, or by the config', async () => {
    const csv = { type: 'csv', columns: ['x', 'y'] };
    expect((await own(fileWith('a.ndjson', '{}'))).format).toEqual({ type: 'json' });
    expect((await own(fileWith('A.CSV', 'x,y\n'))).format).toEqual({ ...csv, delimiter: ',' });
    const settings = { format: 'csv', delimiter: ';' };
    expect((await own(fileWith('a.txt', 'x;y\n'), settings)).format).toEqual({ ...csv, delimiter: ';' });
    await expect(own(fileWith('a.txt', 'x;y\n'))).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(/a\.txt does not show in its name: set source\.file\.format to jsonl or csv$/),
    });
  });

  it('reads gzip whatever the name, of several members too', async () => {
    const members = Buffer.concat([gzipSync('1\n2'), gzipSync('3\n4')]);
    expect(await readAll(fileWith('a.jsonl', members))).toEqual(['1', '23', '4']);
  });

  it('leaves a byte order mark out', async () => {
    expect(await readAll(fileWith('a.jsonl', '\ufeff{"a":1}\n'))).toEqual(['{"a":1}']);
    const source = await own(fileWith('a.csv.gz', gzipSync('\ufeffid,x\n1,2\n')));
    expect(source.format).toMatchObject({ columns: ['id', 'x'] });
    expect(texts((await source.read(0)).values)).toEqual(['1,2']);
  });

  it('takes quotes and blanks out of the header', async () => {
    const source = await own(fileWith('a.csv', '\r\n id ,"a ""b""","c,\nd"\r\n1,2,3\r\n'));
    expect(source.format).toMatchObject({ columns: ['id', 'a "b"', 'c,\nd'] });
    expect((await drain(source, 0)).values).toEqual(['1,2,3']);
  });

  it.each([
    ['a.jsonl', ''],
    ['a.jsonl', '\n\r\n\n'],
    ['a.jsonl.gz', gzipSync('')],
    ['a.csv', 'id,x'],
    ['a.csv', 'id,x\n\n'],
  ])('ends at once on an empty %s', async (name, content) => {
    const source = await own(fileWith(name, content));
    expect(await source.range()).toEqual({ earliest: 0, end: Number.POSITIVE_INFINITY });
    expect(await source.read(0)).toEqual({ values: [], keys: [], offsets: [], timestamps: [], next: 0, end: 0 });
  });

  it.each<[string, () => string, RegExp]>([
    [
      'a missing file',
      () => join(fileWith('a.jsonl', ''), '..', 'b.jsonl'),
      /b\.jsonl cannot be read: there is no such/,
    ],
    ['a folder', () => folderNamed('a.jsonl'), /a\.jsonl cannot be read: it is no regular file$/],
    ['a device', () => '/dev/null', /\/dev\/null cannot be read: it is no regular file$/],
    ['an empty CSV file', () => fileWith('a.csv', ''), /a\.csv is empty; it needs a header row/],
    [
      'an empty gzipped CSV file',
      () => fileWith('a.csv.gz', gzipSync('\n')),
      /a\.csv\.gz is empty; it needs a header row/,
    ],
    ['a UTF-16 header', () => fileWith('a.csv', Buffer.from('\ufeffid,x', 'utf16le')), /its header row is not UTF-8$/],
    ['a .gz that is none', () => fileWith('a.jsonl.gz', '{}\n'), /it is named \.gz, but not compressed by gzip$/],
  ])('refuses %s before any record', async (_name, path, message) => {
    const where = path();
    const opened = own(where, where === '/dev/null' ? { format: 'jsonl' } : {});
    await expect(opened).rejects.toMatchObject({ code: 'INPUT', message: expect.stringMatching(message) });
  });

  it('says that gzip data ends early or is damaged, and gives what comes before', async () => {
    const records = numbered(50_000);
    const whole = gzipSync(lines(records), { level: 1 });
    const damaged = Buffer.from(whole);
    damaged[damaged.length - 6] ^= 1;
    for (const [content, message] of [
      [whole.subarray(0, whole.length - 30), /its gzip data ends early: the file is not complete$/],
      [damaged, /its gzip data is damaged \(/],
    ] as const) {
      const source = await own(fileWith('a.jsonl.gz', content));
      const fault = { code: 'INPUT', message: expect.stringMatching(message) };
      for (let attempt = 0; attempt < 2; attempt++) {
        const first = await source.read(0);
        expect(texts(first.values)).toEqual(records.slice(0, 100).map(({ value }) => value));
        await expect(drain(source, first.next)).rejects.toMatchObject(fault);
      }
    }
  });

  it('cuts what is too long, and keeps quoted line ends in a record', async () => {
    const source = await own(fileWith('a.csv', `a,b\n${'x'.repeat(5000)},1\n"y\nz",2\n`), {}, 10, 1000);
    const { values, offsets } = await source.read(0);
    expect(values.map((value) => value?.length)).toEqual([1001, 7]);
    expect(offsets).toEqual([0, 1]);
  });

  it('says that a file is shorter than it was', async () => {
    const source = await own(fileWith('a.jsonl', '1\n2\n3\n'));
    expect((await source.read(3)).end).toBe(3);
    await expect(source.read(4)).rejects.toMatchObject({
      code: 'INPUT',
      message: expect.stringMatching(/a\.jsonl has 3 records, but 4 were read from it before/),
    });
  });

  it('goes on in what was appended since the last run', async () => {
    const path = fileWith('a.jsonl', '1\n2\n');
    const { next } = await drain(await own(path), 0);
    appendFileSync(path, '3\n4');
    expect((await drain(await own(path), next)).values).toEqual(['3', '4']);
  });

  it('has many small records in large batches', async () => {
    const records = numbered(100_000);
    const drained = await drain(await own(fileWith('a.jsonl', lines(records)), {}, 1000), 0);
    expect(drained.values).toEqual(records.map(({ value }) => value));
    expect(drained.sizes.length).toBeLessThan(150);
  });

  it('lets go of the file', async () => {
    const path = fileWith('a.jsonl', lines(numbered(100_000)));
    const source = open(path);
    const ownership = await firstOwnership(source, new AbortController().signal);
    await ownership.read(0);
    expect(openFiles()).toContain(path);
    await ownership.read(50);
    await source.close();
    expect(openFiles()).not.toContain(path);
  });
});

function folderNamed(name: string): string {
  const path = join(fileWith('other', ''), '..', name);
  mkdirSync(path);
  return path;
}

/** Paths that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

describe('an input that a file sink has kept the position of', () => {
  async function publishAll(path: string, sinkFolder: string): Promise<void> {
    const sink = createFileSink(
      { path: join(sinkFolder, 'risk.jsonl'), dead_letters: join(sinkFolder, 'dead.jsonl') },
      { job: 'test' },
    );
    try {
      const ownership = await own(path);
      const output = await sink.open(ownership);
      const { next } = await ownership.read((await output.position()) ?? 0);
      await output.publish({ events: [], deadLetters: [] }, next);
    } finally {
      await sink.close();
    }
  }

  it('goes on when it has only grown, and is refused when it is another of the same name', async () => {
    const [monday, tuesday] = [fileWith('tx.jsonl', '{"a":1}\n'), fileWith('tx.jsonl', '{"b":1}\n{"b":2}\n')];
    const folder = fileWith('unused', '').replace('/unused', '');
    await publishAll(monday, folder);
    await publishAll(monday, folder);
    appendFileSync(monday, 'x'.repeat(200_000));
    await publishAll(monday, folder);
    // Now the mark is longer than what was there at first.
    appendFileSync(monday, '\n');
    await publishAll(monday, folder);
    await expect(publishAll(tuesday, folder)).rejects.toMatchObject({
      code: 'INPUT',
      message: expect.stringMatching(
        /^tx\.jsonl is another input than the one of this name that was read into .*risk\.jsonl/,
      ),
    });
    writeFileSync(monday, '{"a":1}\n');
    await expect(publishAll(monday, folder)).rejects.toMatchObject({ code: 'INPUT' });
  });
});
