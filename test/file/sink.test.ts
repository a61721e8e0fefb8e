import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createFileSink } from '../../consumers/file/sink.ts';
import type { Sink } from '../../consumers/ports.ts';
import { deadLetter, describeSinkContract, event, type SeenDeadLetter } from '../contract/sink.ts';
import { ownedPartition } from '../support/owned-partition.ts';

interface Line {
  readonly id: string;
  readonly time: string;
  readonly data: object;
}

const firstCheckpoint = '{"version":1,"positions":{},"inputs":{},"events":0,"deadLetters":0}\n';

interface LetterLine extends SeenDeadLetter {
  readonly key: string | null;
  readonly encoding?: 'base64';
}

const parsed = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
const eventsIn = (path: string) => parsed(path) as Line[];
const lettersIn = (path: string) => parsed(path) as LetterLine[];

describeSinkContract('the file sink', {
  hasKeys: false,
  // A second owner does not fence the first: as long as that lives, the lock refuses the second.
  isExactlyOnce: false,
  async create() {
    const folder = mkdtempSync(join(tmpdir(), 'weir-sink-'));
    const config = { path: join(folder, 'risk.jsonl'), dead_letters: join(folder, 'dead', 'letters.jsonl') };
    return {
      open: () => createFileSink(config, { job: 'test-job' }),
      ownership: ownedPartition('input'),
      events: async () =>
        eventsIn(config.path).map(({ id, time, data }) => ({ key: null, id, time, data: JSON.stringify(data) })),
      deadLetters: async () =>
        lettersIn(config.dead_letters).map(({ key: _, value, encoding, ...letter }) => ({
          ...letter,
          value: value === null ? null : Buffer.from(value, encoding ?? 'utf8').toString('hex'),
        })),
      remove: async () => rmSync(folder, { recursive: true }),
    };
  },
});

describe('the file sink', () => {
  let folder: string;
  let config: { path: string; dead_letters: string };
  const sinks: Sink[] = [];
  const children: ChildProcess[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-sink-'));
    config = { path: join(folder, 'risk.jsonl'), dead_letters: join(folder, 'dead.jsonl') };
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const sink of sinks.splice(0)) await sink.close().catch(() => undefined);
    rmSync(folder, { recursive: true });
  });

  async function open(of = config) {
    const sink = createFileSink(of, { job: 'test-job' });
    sinks.push(sink);
    const output = await sink.open(ownedPartition('input'));
    return { sink, output };
  }

  const offsetsOf = (path: string) => eventsIn(path).map(({ id }) => Number(id.split(':')[2]));
  const batch = (...offsets: number[]) => ({ events: offsets.map((offset) => event(offset)), deadLetters: [] });

  it('writes CloudEvents in structured mode, one a line', async () => {
    const { output } = await open();
    await output.publish(batch(1), 2);
    const text = readFileSync(config.path, 'utf8');
    expect(text.endsWith('}\n')).toBe(true);
    expect(JSON.parse(text)).toEqual({
      specversion: '1.0',
      id: 'input:0:1',
      source: '/weir/test-job',
      type: 'weir.risk.scored.v1',
      time: event(1).time,
      datacontenttype: 'application/json',
      data: { n: 1, text: 'größer' },
    });
  });

  it('keeps the bytes of dead letters: as text where that loses nothing', async () => {
    const { output } = await open();
    const values = ['{"a":"ü\\n"}', '\ufffd', '\r\n\u0000'].map((text) => Buffer.from(text));
    await output.publish(
      { events: [], deadLetters: [...values, Buffer.of(0xc3)].map((value, at) => deadLetter(at, value)) },
      4,
    );
    const letters = lettersIn(config.dead_letters);
    expect(letters.slice(0, 3).map(({ value }) => value)).toEqual(values.map(String));
    expect(letters[3]).toMatchObject({ value: 'ww==', encoding: 'base64' });
  });

  it('keeps the positions of partitions apart, in the files that they share', async () => {
    const { sink, output } = await open();
    const other = await sink.open(ownedPartition('input', 1, 2));
    await Promise.all([
      output.publish(batch(1, 2), 3),
      other.publish(batch(7), 8),
      output.publish(batch(3), 4),
      other.publish({ events: [], deadLetters: [] }, 9),
    ]);
    expect([await output.position(), await other.position()]).toEqual([4, 9]);
    expect(offsetsOf(config.path).sort()).toEqual([1, 2, 3, 7]);
    await sink.close();
    const again = await open();
    expect(await again.output.position()).toBe(4);
    expect(await (await again.sink.open(ownedPartition('input', 1, 2))).position()).toBe(9);
  });

  it('cuts off what a process that died had not committed', async () => {
    const first = await open();
    await first.output.publish({ ...batch(0, 1), deadLetters: [deadLetter(2, null)] }, 3);
    await first.sink.close();
    appendFileSync(config.path, '{"half');
    appendFileSync(config.dead_letters, `${JSON.stringify({ offset: 9 })}\n`);
    const { output } = await open();
    expect(await output.position()).toBe(3);
    await output.publish(batch(3), 4);
    expect(offsetsOf(config.path)).toEqual([0, 1, 3]);
    expect(lettersIn(config.dead_letters).map(({ offset }) => offset)).toEqual([2]);
  });

  it('begins anew where a process died before it had committed anything', async () => {
    const running = writer(1_000_000);
    for await (const line of running.output) if (line.startsWith('at ')) break;
    running.child.kill('SIGKILL');
    await running.ended;
    writeFileSync(`${config.path}.checkpoint`, firstCheckpoint);
    expect(statSync(config.path).size).toBeGreaterThan(0);
    const { output } = await open();
    expect(await output.position()).toBeUndefined();
    expect(readFileSync(config.path, 'utf8')).toBe('');
  });

  it('writes over nothing that it has not written', async () => {
    await (await open()).sink.close();
    expect(readFileSync(`${config.path}.checkpoint`, 'utf8')).toBe(firstCheckpoint);
    rmSync(`${config.path}.checkpoint`);
    for (const path of [config.dead_letters, config.path]) {
      writeFileSync(path, 'transactions\n');
      await expect(open()).rejects.toMatchObject({
        code: 'OUTPUT',
        message: `the output file ${path} has 13 bytes, but there is no checkpoint ${config.path}.checkpoint: move it away, or choose another name in sink.file`,
      });
      expect(readFileSync(path, 'utf8')).toBe('transactions\n');
    }
  });

  it('commits by sync: a position is never ahead of what the files hold, nor behind it', async () => {
    const { output } = await open();
    const committed = () => JSON.parse(readFileSync(`${config.path}.checkpoint`, 'utf8'));
    await output.publish(batch(0, 1), 2);
    await output.sync!();
    expect(committed()).toMatchObject({
      positions: { 'input:0': 2 },
      events: statSync(config.path).size,
      deadLetters: 0,
    });
    const syncing = output.sync!();
    await output.publish(batch(2), 3);
    await syncing;
    expect(committed().positions).toEqual({ 'input:0': 2 });
    await Promise.all([output.publish(batch(3), 4), output.sync!(), output.sync!()]);
    await output.sync!();
    expect(committed()).toMatchObject({ positions: { 'input:0': 4 }, events: statSync(config.path).size });
    expect(readdirSync(folder).sort()).toEqual([
      'dead.jsonl',
      'risk.jsonl',
      'risk.jsonl.checkpoint',
      'risk.jsonl.lock',
    ]);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'a checkpoint that is none',
      () => writeFileSync(`${config.path}.checkpoint`, '{"positions":'),
      /risk\.jsonl\.checkpoint is no checkpoint of weir: move it and the output files away/,
    ],
    [
      'a checkpoint of another version',
      () => writeFileSync(`${config.path}.checkpoint`, '{"version":99}'),
      /is no checkpoint of weir/,
    ],
    [
      'a checkpoint with holes',
      () => writeFileSync(`${config.path}.checkpoint`, '{"version":1,"positions":{}}'),
      /is no checkpoint of weir/,
    ],
    [
      'a checkpoint that is a folder',
      () => mkdirSync(`${config.path}.checkpoint`),
      /the checkpoint .* cannot be read: .*EISDIR/,
    ],
    ['a folder for a file', () => mkdirSync(config.path), /the output file .*risk\.jsonl cannot be opened: .*EISDIR/],
    [
      'a folder for the other file',
      () => mkdirSync(config.dead_letters),
      /the output file .*dead\.jsonl cannot be opened: .*EISDIR/,
    ],
    [
      'a file for a folder',
      () => {
        config.path = join(config.dead_letters, 'risk.jsonl');
        writeFileSync(config.dead_letters, '');
      },
      /cannot be written: ENOTDIR|EEXIST/,
    ],
  ])('refuses %s, and leaves no lock', async (_name, prepare, message) => {
    prepare();
    const before = readdirSync(folder);
    await expect(open()).rejects.toMatchObject({ code: 'OUTPUT', message: expect.stringMatching(message) });
    expect(readdirSync(folder).filter((name) => name.endsWith('.lock'))).toEqual([]);
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(before));
  });

  it('refuses files that are shorter than their checkpoint', async () => {
    const { sink, output } = await open();
    await output.publish(batch(0, 1), 2);
    await sink.close();
    truncateSync(config.path, 10);
    await expect(open()).rejects.toMatchObject({
      code: 'OUTPUT',
      message: expect.stringMatching(
        /it has 10 bytes, its checkpoint says \d+; restore it, or move it and the checkpoint away/,
      ),
    });
    expect(statSync(config.path).size).toBe(10);
  });

  it('belongs to one process at a time', async () => {
    await open();
    const second = writer(10);
    expect(await second.ended).toBe(1);
    expect(second.lines).toEqual([
      `OUTPUT: the output ${config.path} is in use by process ${process.pid} (lock ${config.path}.lock); stop it, or choose another sink.file.path`,
    ]);
    await expect(open()).rejects.toMatchObject({ code: 'OUTPUT' });
    await sinks[0].close();
    expect(await writer(10).ended).toBe(0);
  });

  it('publishes each record once, killed however often', async () => {
    const total = 30_000;
    const starts: string[] = [];
    for (const until of [2_000, 3_000, 8_000, 13_000]) {
      const running = writer(total);
      for await (const line of running.output) {
        if (line.startsWith('from ')) starts.push(line);
        if (line.startsWith('at ') && Number(line.slice(3)) >= until) break;
      }
      running.child.kill('SIGKILL');
      await running.ended;
    }
    const last = writer(total);
    expect(await last.ended).toBe(0);
    expect(Number(last.lines[0].slice(5))).toBeGreaterThan(10_000);
    expect(starts[0]).toBe('from 0');
    const all = Array.from({ length: total }, (_, offset) => offset);
    expect(offsetsOf(config.path)).toEqual(all.filter((offset) => offset % 7 !== 0));
    expect(lettersIn(config.dead_letters).map(({ offset }) => offset)).toEqual(
      all.filter((offset) => offset % 7 === 0),
    );
  });

  it('says that the limit of a file is reached, keeps what is committed, and goes on once there is room', async () => {
    const full = writer(30_000, ['-c', 'trap \'\' XFSZ; ulimit -f 2000; exec "$0" "$@"']);
    expect(await full.ended).toBe(1);
    expect(full.lines.at(-1)).toMatch(
      /^OUTPUT: writing .*risk\.jsonl or .*dead\.jsonl failed: EFBIG.*; what is committed is kept/,
    );
    await expectToFinish();
  });

  it('says that the disk is full, keeps what is committed, and goes on once there is room', async () => {
    if (!mountSmallDisk(folder)) return;
    try {
      const full = writer(30_000);
      expect(await full.ended).toBe(1);
      expect(full.lines.at(-1)).toMatch(/^OUTPUT: writing .* failed: the disk is full; what is committed is kept/);
      const stillFull = writer(30_000);
      expect(await stillFull.ended).toBe(1);
      execFileSync('mount', ['-o', 'remount,size=64m', folder]);
      await expectToFinish();
    } finally {
      execFileSync('umount', ['--lazy', folder]);
    }
  });

  async function expectToFinish(): Promise<void> {
    const last = writer(30_000);
    expect(await last.ended).toBe(0);
    expect(Number(last.lines[0].slice(5))).toBeGreaterThan(0);
    expect(new Set(offsetsOf(config.path)).size).toBe(30_000 - Math.ceil(30_000 / 7));
    expect(offsetsOf(config.path)).toHaveLength(30_000 - Math.ceil(30_000 / 7));
    expect(lettersIn(config.dead_letters)).toHaveLength(Math.ceil(30_000 / 7));
  }

  /** Runs sink-writer.ts, by way of a shell where one is given. */
  function writer(total: number, shell?: string[]) {
    const args = [
      new URL('./sink-writer.ts', import.meta.url).pathname,
      config.path,
      config.dead_letters,
      String(total),
    ];
    const [program, ...before] = shell ? ['bash', ...shell, process.execPath] : [process.execPath];
    const child = spawn(program, [...before, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const lines: string[] = [];
    const output = createInterface({ input: child.stdout });
    output.on('line', (line) => lines.push(line));
    const ended = once(child, 'close').then(([code]) => code as number | null);
    return { child, lines, output, ended };
  }
});

/** A disk of 2 MiB at the folder; false where mounting is not allowed. */
function mountSmallDisk(folder: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
