import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { connectRedis } from '../../features/redis/connection.ts';
import { flushScript } from '../../features/redis/flush-calls.ts';
import { redisKeys } from '../../features/redis/keys.ts';
import { loadScript } from '../../features/redis/load-calls.ts';
import { type RedisCommand, type RedisStoreOptions, storeOver } from '../../features/redis/store.ts';
import { LostStateError, type StateStore } from '../../features/store.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { change, contents, describeStateStoreContract, nobody, own, request } from '../contract/state-store.ts';
import { eventually } from '../support/eventually.ts';
import { day, openRedisStore, redisSettings, storeOptions } from '../support/redis.ts';

let redis: RedisService;
let client: Redis;
let prefixes = 0;
beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.url);
  client.on('error', () => {});
});
afterAll(async () => {
  client.disconnect();
  await redis.stop();
});

describeStateStoreContract('the Redis store', {
  async create() {
    const key_prefix = `contract-${prefixes++}`;
    return {
      open: ({ job = 'test', recipe = '0123456789ab', now = systemClock.now } = {}) =>
        openRedisStore({ url: redis.url, key_prefix }, { job, recipe, clock: { ...systemClock, now } }),
      remove: async () => {},
    };
  },
});

describe('the Redis store', () => {
  let key_prefix: string;
  let stores: StateStore[] = [];
  beforeEach(() => {
    key_prefix = `own-${prefixes++}`;
  });
  afterEach(async () => {
    for (const store of stores) await store.close();
    stores = [];
  });

  async function open(settings: object = {}, options: Partial<RedisStoreOptions> = {}): Promise<StateStore> {
    const store = await openRedisStore({ url: redis.url, key_prefix, groups: 4, ...settings }, options);
    stores.push(store);
    return store;
  }

  const keysOf = (groups: number) => redisKeys({ prefix: key_prefix, job: 'test', recipe: '0123456789ab', groups });
  const fenceKey = (group: number) => keysOf(4).fence(group, 't:0');
  const many = (count: number, offset = 1) => Array.from({ length: count }, (_, k) => change(`id-${k}`, offset));

  it('lets other processes see at once what one has stored', async () => {
    const [one, two] = [await open(), await open()];
    await one.flush('t:0', [change('a', 1)], 1);
    const [before] = await two.load([request('a')], nobody);
    await one.flush('t:0', [change('a', 2)], 2);
    const [after] = await two.load([request('a', before.version)], new Set(['t:1']));
    expect(contents(after)).toEqual({ 't:0': '2 a@2' });
    expect(await two.fence('t:0')).toBe(2);
  });

  it('knows no fence when one group has lost its own, and goes by the lowest of all', async () => {
    const store = await open();
    await store.flush('t:0', many(50), 60);
    await client.set(fenceKey(1), 40);
    expect(await store.fence('t:0')).toBe(40);
    await client.del(fenceKey(2));
    expect(await store.fence('t:0')).toBeUndefined();
    await store.flush('t:0', [], 60);
    expect(await store.fence('t:0')).toBe(60);
  });

  it.each([
    ['is gone', (key: string) => client.del(key)],
    ['went back', (key: string) => client.set(key, 59)],
  ])('refuses a flush once a fence that it has confirmed %s, until the fence is asked for', async (_, damage) => {
    const store = await open();
    await store.flush('t:0', many(50), 60);
    await damage(fenceKey(3));
    const refused = await store.flush('t:0', many(50, 70), 80).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'STORE',
      message: expect.stringContaining('has lost state of partition t:0'),
    });
    expect((refused as Error).cause).toBeInstanceOf(LostStateError);
    // Another process that has confirmed nothing there, and another partition, go on.
    await (await open()).flush('t:1', many(5), 5);
    await store.flush('t:2', many(5), 5);
    const lowest = await store.fence('t:0');
    expect(lowest).toBe(await client.get(fenceKey(3)).then((value) => (value === null ? undefined : Number(value))));
    await store.flush('t:0', many(50, 70), 80);
    expect(await store.fence('t:0')).toBe(80);
  });

  it('refuses the rest of a flush whose first calls a fail-over has undone, though the fence is as it was', async () => {
    const config = redisSettings({ url: redis.url, key_prefix, groups: 1 });
    const options = { name: 'test', slots: [0], clock: systemClock };
    // Two databases stand for a primary and its replica.
    const primary = await connectRedis(config, options);
    const replica = await connectRedis({ ...config, url: `${redis.url}/1` }, options);
    await primary.loadScripts([loadScript, flushScript]);
    let undone = 0;
    let replicate = true;
    const store = storeOver(
      {
        ...primary,
        async exchange(calls) {
          if (undone > 0) return replica.exchange(calls);
          if (replicate) await replica.exchange(calls);
          else undone++;
          return primary.exchange(calls);
        },
      },
      config,
      { ...storeOptions, name: 'one', callKeys: 256 },
    );
    try {
      await store.flush('t:0', many(300, 100), 100);
      replicate = false;
      const refused = await store.flush('t:0', many(300, 200), 200).catch((error: unknown) => error);
      expect((refused as Error).cause).toBeInstanceOf(LostStateError);
      expect(await store.fence('t:0')).toBe(100);
      await store.flush('t:0', many(300, 200), 200);
      const answers = await store.load(
        many(300).map(({ id }) => request(id)),
        nobody,
      );
      expect(new Set(answers.map(({ subStates }) => subStates[0].offset))).toEqual(new Set([200]));
    } finally {
      primary.close();
      replica.close();
    }
  });

  it('says with a load which watched partitions have lost state where the entity is kept', async () => {
    const [store, other] = [await open(), await open()];
    const unknown = ['t:0', 't:1', 't:2'].map((partition): [string, number] => [partition, -1]);
    const lostOf = async (of: StateStore, through: readonly [string, number][] = []) => {
      const answers = await of.load(
        many(50).map(({ id }) => request(id)),
        own,
        new Map([...unknown, ...through]),
      );
      return answers.map(({ lost }) => (lost ?? []).join());
    };
    await store.flush('t:0', many(50), 60);
    await store.flush('t:1', many(50), 70);
    // Of the third nothing was ever stored, as far as anybody knows.
    expect(new Set(await lostOf(store))).toEqual(new Set(['t:2']));
    await store.fence('t:2');
    await store.flush('t:2', [], 0);
    expect(new Set(await lostOf(other))).toEqual(new Set(['']));
    const [gone, back] = [fenceKey(1), fenceKey(2)];
    await client.del(gone);
    await client.set(back, 59);
    for (const each of [store, other]) {
      const lost = await lostOf(each);
      expect(new Set(lost)).toEqual(new Set(['', 't:0']));
      expect(many(50).map(({ id }) => ([1, 2].includes(keysOf(4).groupOf(id)) ? 't:0' : ''))).toEqual(lost);
    }
    // Its owner has asked, and knows what is to be made anew; to the others it is lost until it has been.
    expect(await store.fence('t:0')).toBeUndefined();
    expect(new Set(await lostOf(store))).toEqual(new Set(['']));
    expect(new Set(await lostOf(other))).toEqual(new Set(['', 't:0']));
    await store.flush('t:0', [], 60);
    expect(new Set(await lostOf(other))).toEqual(new Set(['']));
    // Who has seen no fence before the loss, and has heard how far they were.
    await client.set(back, 58);
    const late = await open();
    const heard = await lostOf(late, [['t:0', 59]]);
    expect(many(50).map(({ id }) => (keysOf(4).groupOf(id) === 2 ? 't:0' : ''))).toEqual(heard);
    expect(new Set(await lostOf(late, [['t:0', 58]]))).toEqual(new Set(['']));
  });

  it('stores nothing in a group that has lost its fence', async () => {
    const store = await open();
    await store.flush('t:0', [], 60);
    await client.flushdb();
    await expect(store.flush('t:0', many(2_000, 70), 80)).rejects.toMatchObject({ code: 'STORE' });
    expect(await client.keys(`${key_prefix}:*`)).toEqual([]);
  });

  it('moves the fence only when every call of its group has succeeded', async () => {
    const store = await open({ groups: 1 });
    const key = `${keysOf(1).entityPrefixes('card')[0]}id-0`;
    await client.set(key, 'not a hash');
    await expect(store.flush('t:0', many(700), 9)).rejects.toMatchObject({ code: 'STORE' });
    expect(await store.fence('t:0')).toBeUndefined();
    await client.del(key);
    await store.flush('t:0', many(700), 9);
    expect(await store.fence('t:0')).toBe(9);
  });

  it('gives what it stores an end: the entity after retention and reserve, the fence after less than the reserve', async () => {
    const store = await open({ groups: 1 }, { retentionMs: (type) => (type === 'card' ? 30 : 7) * day });
    await store.flush('t:0', [change('a', 1), change('a', 1, '', 'device')], 1);
    const keys = keysOf(1);
    const fenceName = keys.fence(0, 't:0');
    const [card, device, fence] = await Promise.all(
      [`${keys.entityPrefixes('card')[0]}a`, `${keys.entityPrefixes('device')[0]}a`, fenceName].map((name) =>
        client.ttl(name),
      ),
    );
    // Rounded up to the hour.
    expect(Math.abs(card - 34 * 86_400 - 1_800)).toBeLessThanOrEqual(1_800 + 10);
    expect(Math.abs(device - 11 * 86_400 - 1_800)).toBeLessThanOrEqual(1_800 + 10);
    expect(Math.abs(fence - 3 * 86_400)).toBeLessThan(10);
    await client.expire(fenceName, 5);
    await store.flush('t:0', [], 1);
    expect(await client.ttl(fenceName)).toBeGreaterThan(86_400);
  });

  it('puts the end of an entity off at least once an hour, however often it is written', async () => {
    let now = systemClock.now();
    const store = await open({ groups: 1 }, { clock: { ...systemClock, now: () => now } });
    const key = `${keysOf(1).entityPrefixes('card')[0]}a`;
    await store.flush('t:0', [change('a', 1)], 1);
    for (let hour = 0; hour < 3; hour++) {
      await client.expire(key, 1_000);
      for (let minute = 0; minute <= 60; minute += 10, now += 600_000) {
        const offset = 2 + hour * 100 + minute;
        await store.flush('t:0', [change('a', offset)], offset);
      }
      expect(await client.ttl(key)).toBeGreaterThan(33 * 86_400);
    }
  });

  it('keeps every key under the prefix, job, recipe, groups and group', async () => {
    const store = await open();
    await store.flush('t:0', many(40), 1);
    const keys = await client.keys(`${key_prefix}*`);
    expect(keys).toHaveLength(44);
    for (const key of keys) expect(key).toMatch(/^own-\d+:\{test:0123456789ab:4:[0-3]:\d+\}:(card:id-\d+|FENCE:t:0)$/);
    expect(new Set(keys.map((key) => key.split('}')[0])).size).toBe(4);
  });

  it('makes one round trip of a load and two of a flush, the last change by itself, and counts commands and bytes', async () => {
    const commands: RedisCommand[] = [];
    const store = await open({ groups: 16 }, { onCommand: (command) => commands.push(command) });
    await store.flush('t:0', many(900), 900);
    await store.load(
      many(900).map(({ id }) => request(id)),
      own,
    );
    await store.load([request('id-1'), request('id-2')], own);
    await store.fence('t:0');
    expect(commands.map(({ operation }) => operation)).toEqual(['flush', 'flush', 'load', 'load', 'fence']);
    expect(commands.map(({ commands: count }) => count)).toEqual([15, 1, 16, expect.any(Number), 16]);
    expect(commands[3].commands).toBeLessThanOrEqual(2);
    const payload = many(900).reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(commands[0].bytesOut + commands[1].bytesOut).toBeGreaterThan(payload);
    expect(commands[0].bytesIn).toBeLessThan(100);
    expect(commands[2].bytesIn).toBeGreaterThan(payload);
  });

  it('goes on when the server has forgotten the scripts', async () => {
    const store = await open();
    await store.flush('t:0', [change('a', 1)], 1);
    await client.script('FLUSH');
    expect(contents((await store.load([request('a')], nobody))[0])).toEqual({ 't:0': '1 a@1' });
    await client.script('FLUSH');
    await store.flush('t:0', [change('a', 2)], 2);
    expect(await store.fence('t:0')).toBe(2);
  });

  it('finds out a stored state that is cut short', async () => {
    const store = await open({ groups: 1 });
    await store.flush('t:0', [change('a', 1)], 1);
    await client.hset(`${keysOf(1).entityPrefixes('card')[0]}a`, 't:0', 'short');
    await expect(store.load([request('a')], nobody)).rejects.toMatchObject({ code: 'STORE' });
  });

  it.each([
    ['READONLY', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE'], /is a read-only replica.*repeated/],
    ['OOM', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0'], /has no memory left.*maxmemory/],
    [
      'NOREPLICAS',
      ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
      ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
      /too few replicas/,
    ],
  ])('says %s in its own words, and goes on when it ends', async (code, begin, end, sentence) => {
    const server = await startRedis({ args: ['--save', ''] });
    const admin = new Redis(server.url);
    try {
      let losses = 0;
      const onTrouble = (error?: WeirError) => {
        if (error) losses++;
      };
      const store = await open({ url: server.url }, { onTrouble });
      await admin.call(begin[0], ...begin.slice(1));
      const error = await store.flush('t:0', many(3), 3).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(WeirError);
      expect(error).toMatchObject({ code: 'STORE', message: expect.stringMatching(sentence) });
      expect((error as Error).message).toContain(`127.0.0.1:${server.port}`);
      await admin.call(end[0], ...end.slice(1));
      await eventually(() => store.flush('t:0', many(3), 3));
      expect(await store.fence('t:0')).toBe(3);
      // The name of a server that became a replica may lead to the new primary by now.
      expect(losses > 0).toBe(code === 'READONLY');
    } finally {
      admin.disconnect();
      await server.stop();
    }
  });
});
