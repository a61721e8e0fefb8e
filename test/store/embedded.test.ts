import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { open as openLmdb } from 'lmdb';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import type { StateStore } from '../../features/store.ts';
import { systemClock } from '../../runtime/clock.ts';
import { change, contents, describeStateStoreContract, nobody, request } from '../contract/state-store.ts';
import { clockAt } from '../support/clock.ts';

const day = 86_400_000;

interface State {
  readonly job?: string;
  readonly recipe?: string;
  readonly now?: () => number;
}

function openStore(path: string, { job = 'test', recipe = '0123456789ab', now = systemClock.now }: State = {}) {
  const clock = clockAt(now, systemClock.monotonic);
  return createEmbeddedStore({ path }, { job, recipe, retentionMs: () => 30 * day, clock });
}

describeStateStoreContract('the embedded store', {
  async create() {
    const folder = mkdtempSync(join(tmpdir(), 'weir-embedded-'));
    return {
      open: (state) => openStore(join(folder, 'state'), state),
      remove: async () => rmSync(folder, { recursive: true, force: true }),
    };
  },
});

describe('the embedded store', () => {
  let path: string;
  let ends: (() => unknown)[] = [];
  beforeEach(() => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-embedded-'));
    path = join(folder, 'state.v1');
    ends = [() => rmSync(folder, { recursive: true, force: true })];
  });
  afterEach(async () => {
    for (const end of ends.reverse()) await end();
  });

  async function open(state?: State): Promise<StateStore> {
    const store = await openStore(path, state);
    ends.push(() => store.close().catch(() => undefined));
    return store;
  }

  const refusal = () =>
    openStore(path).then(
      async (store) => {
        await store.close();
        return undefined;
      },
      (error: unknown) => error,
    );

  /** Another process that flushes without end; resolves once it has confirmed its first fence. */
  async function startWriter(count: number): Promise<{ child: ChildProcess; fences: number[] }> {
    const program = fileURLToPath(new URL('../support/embedded-writer.ts', import.meta.url));
    const child = spawn(process.execPath, [program, path, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] });
    ends.push(() => killed(child));
    const fences: number[] = [];
    const lines = createInterface({ input: child.stdout! });
    lines.on('line', (line) => fences.push(Number(line)));
    await once(lines, 'line');
    return { child, fences };
  }

  async function killed(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  it('is for one process: a second one is told which has it', async () => {
    const store = await open();
    expect(await refusal()).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(
        `the state folder ${path} is in use by process ${process.pid} .*several processes need Redis`,
      ),
    });
    await store.close();
    const { child } = await startWriter(10);
    expect(await refusal()).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(`in use by process ${child.pid} `),
    });
    await killed(child);
    expect(await refusal()).toBeUndefined();
  });

  it('has all of a flush or nothing when its process is killed, and everything that it confirmed', async () => {
    const count = 3_000;
    for (let round = 0; round < 4; round++) {
      const { child, fences } = await startWriter(count);
      while (fences.length < 2 + 3 * round) await new Promise((resolve) => setImmediate(resolve));
      await killed(child);
      const store = await open();
      const fence = (await store.fence('t:0'))!;
      expect(fence).toBeGreaterThanOrEqual(fences.at(-1)!);
      const ids = Array.from({ length: count }, (_, k) => `id-${(k * 7_919) % 100_000}`);
      const answers = await store.load(
        ids.map((id) => request(id)),
        nobody,
      );
      expect(new Set(answers.map(({ subStates }) => subStates[0].offset))).toEqual(new Set([fence]));
      expect(contents(answers[17])).toEqual({ 't:0': `${fence} ${`round ${fence}`.padEnd(200, '.')}` });
      await store.close();
    }
  });

  /** A process whose files may not grow beyond what an empty store has, once the store has refused a flush. */
  async function startWithoutRoom() {
    const program = fileURLToPath(new URL('../support/embedded-without-room.ts', import.meta.url));
    const limited = ['-c', 'ulimit -S -f 256; exec "$0" "$@"', process.execPath, program, path];
    const child = spawn('bash', limited, { stdio: ['pipe', 'pipe', 'ignore'] });
    const exited = once(child, 'exit');
    ends.push(() => killed(child));
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value as string;
    expect(await line()).toBe('refused');
    return { child, line, exited };
  }

  it('closes in time after a flush for which there was no room, and says that it is missing', async () => {
    const { child, line, exited } = await startWithoutRoom();
    child.stdin!.write('close\n');
    expect(await line()).toMatch(
      /^the state folder .* cannot be written: the disk is full or fails .*; what is stored stays, and the rest is re-applied/,
    );
    await exited;
    const store = await open();
    expect(await store.fence('t:0')).toBeGreaterThan(1);
  });

  it('takes what it refused once there is room, and closes well', async () => {
    const { child, line, exited } = await startWithoutRoom();
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
    child.stdin!.write('again\n');
    const stored = await line();
    expect(stored).toMatch(/^fence \d+$/);
    expect(await line()).toBe('closed');
    await exited;
    const store = await open();
    expect(`fence ${await store.fence('t:0')}`).toBe(stored);
  });

  it('wants a folder of its own', async () => {
    rmSync(path, { recursive: true, force: true });
    const folder = join(path, '..');
    writeFileSync(join(folder, 'thesis.txt'), 'chapter one');
    path = folder;
    expect(await refusal()).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(
        /holds files that are not weir's \(thesis.txt\); state.embedded.path needs a folder of its own/,
      ),
    });
  });

  it('says that a path is no folder', async () => {
    writeFileSync(path, 'a file');
    expect(await refusal()).toMatchObject({ code: 'STORE', message: expect.stringContaining(path) });
  });

  const data = () => join(path, 'data.mdb');
  it.each<[string, () => void]>([
    ['is text', () => writeFileSync(data(), 'not lmdb at all '.repeat(20_000))],
    ['is cut in half', () => truncateSync(data(), Math.floor(statSync(data()).size / 2))],
    ['is cut to nothing', () => truncateSync(data(), 0)],
    ['has lost its first page', () => writeFileSync(data(), Buffer.alloc(8_192, 9), { flag: 'r+' })],
  ])('says that the folder is damaged when its data file %s, and what to do', async (_, damage) => {
    const store = await open();
    await store.flush(
      't:0',
      Array.from({ length: 2_000 }, (_, k) => change(`id-${k}`, 1)),
      1,
    );
    await store.close();
    damage();
    expect(await refusal()).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/is damaged: .*; move it away, and the state is rebuilt from the source's log/),
    });
  });

  it('begins empty, without a fence, when its data file was taken away', async () => {
    const store = await open();
    await store.flush('t:0', [change('a', 1)], 1);
    await store.close();
    rmSync(data());
    expect(await (await open()).fence('t:0')).toBeUndefined();
  });

  it('refuses a folder of a later format', async () => {
    await (await open()).close();
    const file = join(path, 'weir.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"format":1', '"format":2'));
    expect(await refusal()).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/has the format 2; this program reads format 1/),
    });
  });

  it('removes entities whose time is over while it goes on storing others', async () => {
    let now = Date.UTC(2026, 0, 1);
    const store = await open({ now: () => now });
    const ids = (name: string, count: number) => Array.from({ length: count }, (_, k) => change(`${name}-${k}`, 1));
    await store.flush('t:0', ids('old', 2_000), 1);
    now += 20 * day;
    await store.flush('t:0', ids('middle', 50), 1);
    now += 20 * day;
    // Each flush looks at half as many entities as it writes, and 16 more.
    for (let round = 0; round < 60; round++) await store.flush('t:0', ids('new', 60), 2);
    const kept = await store.load(
      ids('middle', 50).map(({ id }) => request(id)),
      nobody,
    );
    expect(kept.every(({ subStates }) => subStates.length === 1)).toBe(true);
    await store.close();
    expect(countKeys('test:0123456789ab')).toBe(50 + 60 + 1);
  });

  it('trusts no fence of a job that stood still for longer than the reserve allows', async () => {
    let now = Date.UTC(2026, 0, 1);
    const store = await open({ now: () => now });
    await store.flush('t:0', [], 7);
    await store.flush('t:1', [], 8);
    now += 2 * day;
    await store.flush('t:1', [], 8);
    now += 1.5 * day;
    expect(await store.fence('t:0')).toBeUndefined();
    expect(await store.fence('t:1')).toBe(8);
  });

  it('gives the space of a recipe that is no longer used back, long after any window can need it', async () => {
    let now = Date.UTC(2026, 0, 1);
    const old = await open({ recipe: 'aaaaaaaaaaaa', now: () => now });
    await old.flush('t:0', [change('a', 1)], 1);
    await old.close();
    now += 99 * day;
    await (await open({ now: () => now })).close();
    expect(countKeys('test:aaaaaaaaaaaa')).toBe(2);
    now += 2 * day;
    await (await open({ now: () => now })).close();
    expect(countKeys('test:aaaaaaaaaaaa')).toBe(0);
    expect(JSON.parse(readFileSync(join(path, 'weir.json'), 'utf8')).states).toEqual({ 'test:0123456789ab': now });
  });

  /** Entries of one state, read past the store. */
  function countKeys(name: string): number {
    const root = openLmdb({
      path,
      noSubdir: false,
      pageSize: 8_192,
      maxDbs: 64,
      encoding: 'binary',
      keyEncoding: 'binary',
    });
    const count = root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' }).getKeysCount({});
    root.close();
    return count;
  }
});
