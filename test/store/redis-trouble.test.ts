import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { StateStore } from '../../features/store.ts';
import { LostStateError } from '../../features/store.ts';
import { ask } from '../../infra/services/redis-commands.ts';
import { type RedisOptions, type RedisService, startRedis } from '../../infra/services/start.ts';
import { WeirError } from '../../runtime/errors.ts';
import { change, contents, nobody, request } from '../contract/state-store.ts';
import { eventually } from '../support/eventually.ts';
import { openRedisStore } from '../support/redis.ts';

/** What happens to a running store when its server does not behave. */
describe('the Redis store in trouble', () => {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function start(options: RedisOptions = { args: ['--appendonly', 'no'] }): Promise<RedisService> {
    const server = await startRedis(options);
    ends.push(() => server.stop());
    return server;
  }

  async function open(server: RedisService, settings: object = {}, troubles: unknown[] = []): Promise<StateStore> {
    const store = await openRedisStore(
      { url: server.url, groups: 4, ...settings },
      { onTrouble: (error) => troubles.push(error) },
    );
    ends.push(() => store.close());
    return store;
  }

  const ids = Array.from({ length: 100 }, (_, k) => `id-${k}`);
  const changes = (offset: number) => ids.map((id) => change(id, offset));
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );

  it('rejects while the server is away, naming it, and works again when it is back; what is lost shows', async () => {
    const server = await start();
    const troubles: unknown[] = [];
    const store = await open(server, {}, troubles);
    await store.flush('t:0', changes(5), 5);
    await server.kill();
    for (const work of [store.load([request('a')], nobody), store.flush('t:0', changes(6), 6), store.fence('t:0')]) {
      const error = await failure(work);
      expect(error).toBeInstanceOf(WeirError);
      expect(error).toMatchObject({ code: 'STORE' });
      expect((error as Error).message).toMatch(`Redis at 127.0.0.1:${server.port} is out of reach while`);
      expect((error as Error).message).toMatch(/is tried again/);
    }
    await server.restart();
    await eventually(() => store.load([request('id-1')], nobody));
    const [first, last] = [troubles[0], troubles.at(-1)];
    expect(first).toMatchObject({ code: 'STORE' });
    expect(last).toBeUndefined();
    // The server keeps nothing on disk: it has less than it had confirmed.
    expect(((await failure(store.flush('t:0', changes(7), 7))) as Error).cause).toBeInstanceOf(LostStateError);
    expect(await store.fence('t:0')).toBeUndefined();
    await store.flush('t:0', changes(7), 7);
    expect(await store.fence('t:0')).toBe(7);
    expect(contents((await store.load([request('id-1')], nobody))[0])).toEqual({ 't:0': '7 id-1@7' });
  });

  it('finds everything again after a restart of a server that keeps it', async () => {
    const server = await start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const store = await open(server);
    await store.flush('t:0', changes(5), 5);
    await server.kill();
    await failure(store.flush('t:0', changes(6), 6));
    await server.restart();
    await eventually(() => store.flush('t:0', changes(6), 6));
    expect(await store.fence('t:0')).toBe(6);
    expect(contents((await store.load([request('id-99')], nobody))[0])).toEqual({ 't:0': '6 id-99@6' });
  });

  it('uses no server that may evict, when one answers at the address later on, until it does not any more', async () => {
    const server = await start();
    const troubles: unknown[] = [];
    const store = await open(server, {}, troubles);
    await store.flush('t:0', changes(5), 5);
    const setPolicy = (policy: string) => ask(server, 'CONFIG', 'SET', 'maxmemory-policy', policy);
    await setPolicy('allkeys-lru');
    await ask(server, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    const isEvicting = {
      code: 'STORE',
      message: expect.stringMatching('may evict state: its maxmemory-policy is allkeys-lru'),
    };
    while (!String(troubles.at(-1)).includes('may evict')) await delay(20);
    expect(await failure(store.flush('t:0', changes(6), 6))).toMatchObject(isEvicting);
    expect(await failure(store.load([request('id-1')], nobody))).toMatchObject(isEvicting);
    await setPolicy('noeviction');
    await eventually(() => store.flush('t:0', changes(6), 6));
    expect(await store.fence('t:0')).toBe(6);
    expect(troubles.at(-1)).toBeUndefined();
  });

  it('rejects what is under way when the server dies', async () => {
    const server = await start();
    const store = await open(server);
    process.kill(server.pid, 'SIGSTOP');
    const work = [store.load([request('a')], nobody), store.flush('t:0', changes(6), 6)].map(failure);
    process.kill(server.pid, 'SIGKILL');
    for (const error of await Promise.all(work)) expect(error).toMatchObject({ code: 'STORE' });
  });

  it('does not wait for a server that hangs longer than command_timeout_ms, and keeps no backlog meanwhile', async () => {
    const server = await start();
    const store = await open(server, { command_timeout_ms: 300 });
    process.kill(server.pid, 'SIGSTOP');
    try {
      const error = (await failure(store.load([request('a')], nobody))) as Error;
      expect(error).toMatchObject({ code: 'STORE' });
      expect(error.message).toMatch(/no answer for 0.3 s/);
      const before = process.memoryUsage().arrayBuffers;
      const big = Array.from({ length: 40 }, (_, k) => ({
        type: 'card',
        id: `big-${k}`,
        offset: 1,
        bytes: Buffer.alloc(200_000),
      }));
      for (let k = 0; k < 50; k++) await failure(store.flush('t:0', big, 1));
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100e6);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await eventually(() => store.flush('t:0', changes(6), 6));
    expect(await eventually(() => store.fence('t:0'))).toBe(6);
  });

  it('says nothing of the password, in any depth', async () => {
    const server = await start({ args: ['--requirepass', 'top-secret-7'] });
    const url = `redis://:top-secret-7@127.0.0.1:${server.port}`;
    const store = await open(server, { url });
    await server.kill();
    const away = await failure(store.load([request('a')], nobody));
    const refused = await failure(openRedisStore({ url, connect_timeout_ms: 200 }));
    await server.restart();
    const wrong = await failure(openRedisStore({ url: url.replace('secret-7', 'secret-8') }));
    for (const error of [away, refused, wrong]) {
      expect(error).toMatchObject({ code: 'STORE' });
      expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/top-secret/);
    }
  });
});
