import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { createEmbeddedRewinder } from '../../features/embedded/rewinder.ts';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import { redisKeys } from '../../features/redis/keys.ts';
import { createRedisRewinder } from '../../features/redis/rewinder.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { describeRewinderContract } from '../contract/rewinder.ts';
import { change } from '../contract/state-store.ts';
import { day, openRedisStore, redisSettings } from '../support/redis.ts';

const state = { job: 'test', recipe: '0123456789ab', clock: systemClock };
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

describeRewinderContract('the Redis rewinder', async () => {
  const settings = { url: redis.url, key_prefix: `rewinder-${prefixes++}` };
  return {
    openStore: () => openRedisStore(settings),
    openRewinder: () => createRedisRewinder(redisSettings(settings), state),
    remove: async () => {},
  };
});

describe('the Redis rewinder', () => {
  it('stops as soon as somebody stores a fence: what is stored then is not taken away', async () => {
    const settings = { url: redis.url, key_prefix: 'taken' };
    const store = await openRedisStore(settings);
    const ids = Array.from({ length: 3_000 }, (_, index) => `c${index}`);
    await store.flush(
      't:0',
      ids.map((id) => change(id, 9)),
      9,
    );
    const rewinder = await createRedisRewinder(redisSettings(settings), state);
    const fence = redisKeys({ prefix: 'taken', job: 'test', recipe: '0123456789ab', groups: 16 }).fence(0, 't:0');
    let demands = 0;
    const erasing = rewinder.eraseBeyond(new Map([['t:0', 0]]), () => {
      if (demands++ === 0) return;
      void client.set(fence, '9');
    });
    await expect(erasing).rejects.toMatchObject({
      code: 'STORE',
      message: expect.stringContaining('somebody stores state of the partitions'),
    });
    await Promise.all([rewinder.close(), store.close()]);
  });

  it('needs no more than the documented permissions', async () => {
    const text = readFileSync('docs/state.md', 'utf8').split('`weir offsets reset`')[1];
    const documented = /`(\+info [^`]+)`/.exec(text)![1];
    await client.call('ACL', 'SETUSER', 'rewinder', 'on', '>secret', '~acl:*', ...documented.split(' '));
    const settings = { url: redis.url, key_prefix: 'acl' };
    const store = await openRedisStore(settings);
    await store.flush('t:0', [change('a', 5)], 6);
    await store.close();
    const config = redisSettings({ ...settings, username: 'rewinder', password: 'secret' });
    const rewinder = await createRedisRewinder(config, state);
    expect(await rewinder.fences(['t:0'])).toEqual([6]);
    expect(await rewinder.eraseBeyond(new Map([['t:0', 4]]), () => {})).toEqual(new Map([['t:0', 1]]));
    await rewinder.close();
  });
});

describeRewinderContract('the embedded rewinder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-rewinder-'));
  const path = join(folder, 'state');
  return {
    openStore: () => createEmbeddedStore({ path }, { ...state, retentionMs: () => 30 * day }),
    openRewinder: () => createEmbeddedRewinder({ path }, state),
    remove: async () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe('the embedded rewinder', () => {
  it('wants the folder for itself', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-rewinder-'));
    const path = join(folder, 'state');
    const store = await createEmbeddedStore({ path }, { ...state, retentionMs: () => 30 * day });
    await expect(createEmbeddedRewinder({ path }, state)).rejects.toMatchObject({
      code: 'STORE',
      message: expect.stringContaining('is in use by process'),
    });
    await store.close();
    rmSync(folder, { recursive: true });
  });
});
