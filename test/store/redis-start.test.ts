import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { redisStoreConfig } from '../../features/redis/config.ts';
import { freePorts, succeeds } from '../../infra/services/machine.ts';
import { ask } from '../../infra/services/redis-commands.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { change, contents, nobody, request } from '../contract/state-store.ts';
import { day, openRedisStore } from '../support/redis.ts';

const isProgram = await succeeds('redis-server', ['--version']);
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(...args: string[]): Promise<RedisService> {
  const server = await startRedis({ args });
  ends.push(() => server.stop());
  return server;
}

/** A server of one's own words: `answer` gets what a client sends. */
async function pretend(answer: (text: string, socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => answer(bytes.toString('latin1'), socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => server.close());
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const refusal = (settings: object) =>
  openRedisStore(settings).then(
    async (store) => {
      await store.close();
      return undefined;
    },
    (error: unknown) => error,
  );

async function works(settings: object): Promise<void> {
  const store = await openRedisStore(settings);
  try {
    await store.flush('t:0', [change('a', 1)], 1);
    expect(contents((await store.load([request('a')], nobody))[0])).toEqual({ 't:0': '1 a@1' });
    expect(await store.fence('t:0')).toBe(1);
  } finally {
    await store.close();
  }
}

/** Makes the store use every command that it ever does. */
async function usesAll(settings: object): Promise<void> {
  const id = randomUUID();
  const aYearOn = { ...systemClock, now: () => systemClock.now() + 365 * day };
  const [store, later] = [await openRedisStore(settings), await openRedisStore(settings, { clock: aYearOn })];
  try {
    await store.flush('t:0', [change(id, 1)], 1);
    const [{ version }] = await store.load([request(id)], nobody);
    await store.load([request(id, version)], nobody);
    await later.load([request(id)], nobody, new Map([['t:0', -1]]));
    await store.fence('t:0');
  } finally {
    await store.close();
    await later.close();
  }
}

describe('the Redis store at its start', () => {
  it('refuses a server that may evict', async () => {
    const { url, port } = await start('--maxmemory-policy', 'allkeys-lru');
    expect(await refusal({ url })).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(
        `Redis at 127.0.0.1:${port} may evict state: its maxmemory-policy is allkeys-lru; set it to noeviction`,
      ),
    });
  });

  it('refuses a server that is too old, and says which it found', async () => {
    const info = '# Server\r\nredis_version:5.0.14\r\nmaxmemory_policy:noeviction\r\n';
    const url = await pretend((text, socket) => {
      for (const _ of text.match(/info/gi) ?? []) socket.write(`$${info.length}\r\n${info}\r\n`);
      for (const _ of text.match(/setname/g) ?? []) socket.write('+OK\r\n');
    });
    expect(await refusal({ url })).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/version 5\.0\.14; weir needs 6\.2/),
    });
  });

  it('refuses a node of a cluster as a single server, a single server as a cluster, and a replica', async () => {
    const [node, single, replica] = [await start('--cluster-enabled', 'yes'), await start(), await start()];
    await ask(replica, 'REPLICAOF', single.host, String(single.port));
    for (const [settings, sentence] of [
      [{ url: node.url }, /is part of a Redis Cluster: name its nodes in state.redis.cluster/],
      [{ cluster: [`${single.host}:${single.port}`] }, /is not part of a Redis Cluster: name it in state.redis.url/],
      [{ url: replica.url }, /is a replica, which takes no writes: name the primary/],
    ] as const) {
      expect(await refusal(settings)).toMatchObject({ code: 'STORE', message: expect.stringMatching(sentence) });
    }
  });

  it('says that the way to a server is long, and goes on', async () => {
    const info = '# Server\r\nredis_version:7.0.0\r\nmaxmemory_policy:noeviction\r\n';
    let now = 0;
    const url = await pretend((text, socket) => {
      for (const _ of text.match(/info/gi) ?? []) socket.write(`$${info.length}\r\n${info}\r\n`);
      for (const _ of text.match(/setname|ping|script/gi) ?? []) socket.write('+OK\r\n');
      if (/ping/i.test(text)) now += 12;
    });
    const warnings: string[] = [];
    const clock = { ...systemClock, monotonic: () => now };
    const store = await openRedisStore({ url }, { clock, onWarning: (sentence) => warnings.push(sentence) });
    await store.close();
    expect(warnings).toEqual([expect.stringMatching(/takes 12.0 ms to answer a PING/)]);
  });

  it('gives up on what cannot be reached, and waits for what comes up in time', async () => {
    const server = await start();
    const settings = { url: server.url, connect_timeout_ms: 5_000 };
    await server.kill();
    const startedAt = performance.now();
    expect(await refusal(settings)).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(
        `Redis at 127.0.0.1:${server.port} cannot be reached .tried for 5 s.: check state.redis.url.*ECONNREFUSED`,
      ),
    });
    expect(performance.now() - startedAt).toBeGreaterThan(4_990);
    const opening = works({ ...settings, connect_timeout_ms: 60_000 });
    await server.restart();
    await opening;
  });

  it('says that a name is unknown', async () => {
    const error = await refusal({ url: 'redis://no-such-host.invalid', connect_timeout_ms: 1_000 });
    expect(error).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/no-such-host\.invalid:6379 cannot be reached/),
    });
  });

  it('gives up on what accepts connections and says nothing', async () => {
    const url = await pretend(() => {});
    expect(await refusal({ url, connect_timeout_ms: 5_000 })).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/accepts connections but is not ready/),
    });
  });

  it('says that a server may hang, whatever command_timeout_ms is', async () => {
    const server = await start();
    process.kill(server.pid, 'SIGSTOP');
    try {
      const timeouts = [20_000, 1_000, 100];
      const hanging = timeouts.map((command_timeout_ms) =>
        refusal({ url: server.url, connect_timeout_ms: 5_420, command_timeout_ms }),
      );
      for (const error of await Promise.all(hanging)) {
        expect(error).toMatchObject({
          code: 'STORE',
          message: expect.stringMatching(/accepts connections but is not ready .tried for 5.42 s.: it hangs or/),
        });
      }
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
  });

  it('tells a wrong password from a missing one, at once', async () => {
    const { url, port } = await start('--requirepass', 'right:p@ss%');
    const settings = { url, connect_timeout_ms: 60_000 };
    expect(await refusal(settings)).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/wants a password; set state.redis.password/),
    });
    expect(await refusal({ ...settings, password: 'wrong' })).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/refuses the user or the password/),
    });
    expect(await refusal({ ...settings, username: 'nobody', password: 'right:p@ss%' })).toMatchObject({
      code: 'STORE',
    });
    await works({ ...settings, password: 'right:p@ss%' });
    await works({ url: `redis://:${encodeURIComponent('right:p@ss%')}@127.0.0.1:${port}` });
  });

  it('uses the database of the url', async () => {
    const { url } = await start();
    await works({ url: `${url}/3` });
    const client = new Redis(`${url}/3`);
    ends.push(() => client.disconnect());
    expect(await client.dbsize()).toBe(17);
  });

  it('needs no more than docs/state.md lists, and says what is missing', async () => {
    const { url, port } = await start();
    const admin = new Redis(url);
    ends.push(() => admin.disconnect());
    const rules = documentedRules();
    expect(rules.length).toBeGreaterThan(5);
    await admin.call('ACL', 'SETUSER', 'weir', ...rules.map((rule) => rule.replace('PASSWORD', 'p')));
    const settings = { url: `redis://weir:p@127.0.0.1:${port}`, connect_timeout_ms: 60_000 };
    await usesAll(settings);
    expect(await admin.call('ACL', 'LOG')).toEqual([]);
    const withoutName = rules.filter((rule) => rule.startsWith('+') && !/client|ping/.test(rule));
    for (const rule of withoutName) {
      await admin.call('ACL', 'SETUSER', 'weir', rule.replace('+', '-').replace(/\|.*/, ''));
      const error = await usesAll(settings).catch((reason: unknown) => reason);
      expect([rule, error]).toMatchObject([
        rule,
        { code: 'STORE', message: expect.stringMatching(/does not let this user do it; docs\/state.md/) },
      ]);
      await admin.call('ACL', 'SETUSER', 'weir', rule);
    }
    await expect(usesAll({ ...settings, key_prefix: 'other' })).rejects.toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/does not let this user do it/),
    });
  });

  // A server in a container does not see the files.
  (isProgram ? it : it.skip)('speaks TLS, and says what is wrong with a certificate', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-tls-'));
    ends.push(() => rmSync(folder, { recursive: true }));
    const file = (name: string) => join(folder, name);
    for (const name of ['server', 'client']) selfSigned(file(`${name}.key`), file(`${name}.crt`));
    const [port] = await freePorts(1);
    await start(
      ...['--tls-cert-file', file('server.crt'), '--tls-key-file', file('server.key')],
      ...['--tls-ca-cert-file', file('client.crt'), '--tls-auth-clients', 'yes'],
      ...['--port', '0', '--tls-port', String(port)],
    );
    const url = `rediss://127.0.0.1:${port}`;
    const tls = { ca: file('server.crt'), cert: file('client.crt'), key: file('client.key'), servername: 'localhost' };
    await works({ url, tls });
    await works({ url: url.replace('rediss:', 'redis:'), tls: { ...tls, ca: undefined, reject_unauthorized: false } });
    const settings = { url, connect_timeout_ms: 60_000 };
    expect(await refusal(settings)).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/TLS failed.*self-signed.*check state.redis.tls/),
    });
    expect(await refusal({ ...settings, tls: { ...tls, servername: 'elsewhere' } })).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/TLS failed.*elsewhere/),
    });
    expect(
      await refusal({ url, tls: { ...tls, cert: undefined, key: undefined }, connect_timeout_ms: 1_000 }),
    ).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(/TLS failed|cannot be reached/),
    });
    expect(await refusal({ url: url.replace('rediss:', 'redis:'), connect_timeout_ms: 500 })).toMatchObject({
      code: 'STORE',
    });
    expect(await refusal({ url, tls: { ca: file('missing.crt') } })).toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(/state.redis.tls.ca: .*missing.crt cannot be read/),
    });
  });
});

describe('redisStoreConfig', () => {
  it.each(['http://localhost:6379', 'localhost:6379', 'redis://localhost/three', 'redis://'])(
    'refuses the url %s',
    (url) => {
      expect(redisStoreConfig.safeParse({ url }).success).toBe(false);
    },
  );

  it.each(['redis://localhost', 'rediss://:pw@cache.example:6380/2', 'redis://[::1]:6379/'])(
    'takes the url %s',
    (url) => {
      expect(redisStoreConfig.safeParse({ url }).success).toBe(true);
    },
  );
});

function selfSigned(key: string, certificate: string): void {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', key, '-out', certificate];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files], {
    stdio: 'ignore',
  });
}

/** The rules of the line `ACL SETUSER weir …` in the documentation. */
function documentedRules(): string[] {
  const text = readFileSync(new URL('../../docs/state.md', import.meta.url), 'utf8');
  const line = /^ACL SETUSER weir ((?:.*\\\n)*.*)$/m.exec(text);
  return (line?.[1] ?? '').replaceAll('\\\n', ' ').split(/\s+/).filter(Boolean);
}
