import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { createEmbeddedReader } from '../../features/embedded/reader.ts';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import { createRedisReader } from '../../features/redis/reader.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { change } from '../contract/state-store.ts';
import { describeStoreReaderContract } from '../contract/store-reader.ts';
import { day, openRedisStore, redisSettings } from '../support/redis.ts';

const job = 'test';
const ownRecipe = '0123456789ab';
let redis: RedisService;
let client: Redis;
let prefixes = 0;
beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.url);
});
afterAll(async () => {
  client.disconnect();
  await redis.stop();
});

describeStoreReaderContract('the Redis reader', async () => {
  const settings = { url: redis.url, key_prefix: `reader-${prefixes++}` };
  return {
    openStore: () => openRedisStore(settings),
    openReader: ({ now = systemClock.now, recipe = ownRecipe }) =>
      createRedisReader(redisSettings(settings), { job, recipe, clock: { ...systemClock, now } }),
    async snapshot() {
      const keys = (await client.keys(`${settings.key_prefix}:*`)).sort();
      return Promise.all(keys.map(async (key) => [key, await client.dumpBuffer(key), await client.expiretime(key)]));
    },
    remove: async () => {},
  };
});

describe('the Redis reader', () => {
  it('needs no more than the documented permissions', async () => {
    const documented = /`(\+info [^`]+)`/.exec(
      readFileSync('docs/state.md', 'utf8').split(
        '`weir inspect`, `weir offsets show` and `weir fleet status` only read',
      )[1],
    )![1];
    await client.call('ACL', 'SETUSER', 'inspector', 'on', '>secret', '~acl:*', ...documented.split(' '));
    const settings = { url: redis.url, key_prefix: 'acl' };
    const store = await openRedisStore(settings);
    await store.flush('t:0', [change('a', 1)], 2);
    await store.close();
    const config = redisSettings({ ...settings, username: 'inspector', password: 'secret' });
    const reader = await createRedisReader(config, { job, recipe: ownRecipe, clock: systemClock });
    expect(await reader.read('card', 'a')).toMatchObject([{ partition: 't:0', offset: 1, fence: 2 }]);
    await reader.close();
  });
});

const embeddedReader = (path: string, recipe = ownRecipe, now = systemClock.now) =>
  createEmbeddedReader({ path }, { job, recipe, clock: { ...systemClock, now } });

describeStoreReaderContract('the embedded reader', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-reader-'));
  const path = join(folder, 'state');
  return {
    openStore: () =>
      createEmbeddedStore({ path }, { job, recipe: ownRecipe, retentionMs: () => 30 * day, clock: systemClock }),
    openReader: ({ now, recipe }) => embeddedReader(path, recipe, now),
    snapshot: async () => ['data.mdb', 'weir.json'].map((name) => readFileSync(join(path, name))),
    remove: async () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe('the embedded reader', () => {
  let path: string;
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'weir-reader-'));
  });
  afterEach(() => rmSync(path, { recursive: true, force: true }));

  it('reads while another process writes, and sees each of its flushes whole', async () => {
    const writer = spawn(
      process.execPath,
      [fileURLToPath(new URL('../support/embedded-writer.ts', import.meta.url)), path, '50'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    try {
      const rounds = createInterface({ input: writer.stdout })[Symbol.asyncIterator]();
      let last = Number((await rounds.next()).value);
      const reader = await embeddedReader(path);
      for (let look = 0; look < 20; look++) {
        const [{ offset, fence, bytes }] = await reader.read('card', 'id-0');
        expect(offset).toBeGreaterThanOrEqual(last);
        expect(fence).toBe(offset);
        expect(Buffer.from(bytes).toString()).toMatch(new RegExp(`^round ${offset}\\.+$`));
        last = Number((await rounds.next()).value);
      }
      await reader.close();
    } finally {
      const exited = once(writer, 'exit');
      writer.kill('SIGKILL');
      await exited;
    }
  });

  it('says so where no state is, or a damaged one', async () => {
    await expect(embeddedReader(join(path, 'none'))).rejects.toThrow('there is no state at');
    mkdirSync(join(path, 'foreign'));
    writeFileSync(join(path, 'foreign', 'data.mdb'), 'x');
    await expect(embeddedReader(join(path, 'foreign'))).rejects.toThrow('there is no state at');
    writeFileSync(join(path, 'foreign', 'weir.json'), '{"format":1,"bytes":1,"states":{}}');
    await expect(embeddedReader(join(path, 'foreign'))).rejects.toThrow('is damaged: data.mdb is no LMDB file');
  });
});
