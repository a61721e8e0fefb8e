import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { createCallWriter, encodeCommand, type Reply, type Script } from '../../features/redis/call.ts';
import { flushScript, planFlush, writeFlush } from '../../features/redis/flush-calls.ts';
import { redisKeys } from '../../features/redis/keys.ts';
import { loadScript, planLoad, writeLoad } from '../../features/redis/load-calls.ts';
import { storeOver } from '../../features/redis/store.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { createProcess } from '../../sim/process.ts';
import { simulatedLink } from '../../sim/redis/link.ts';
import { readCall } from '../../sim/redis/protocol.ts';
import { createRedisServer } from '../../sim/redis/server.ts';
import { change, describeStateStoreContract, request } from '../contract/state-store.ts';
import { day } from '../support/redis.ts';
import { startTime } from '../support/simulated.ts';

const scripts: readonly Script[] = [loadScript, flushScript];

describeStateStoreContract('the Redis store on simulated servers', {
  async create() {
    const running = startTime();
    // The servers' own time goes on as ever, whatever a store is told.
    let now: () => number = () => Date.UTC(2026, 0, 1);
    let stores = 0;
    const servers = [0, 1].map(() => createRedisServer(() => Date.UTC(2026, 0, 1) + running.time.now()));
    for (const server of servers) server.loadScripts(scripts);
    return {
      async open({ job = 'test', recipe = '0123456789ab', now: told } = {}) {
        if (told) now = told;
        const process = createProcess('p', running.time, 0);
        const clock = { ...process.clock, now: () => now() };
        const options = { job, recipe, clock, retentionMs: () => 30 * day, onCommand: () => {}, callKeys: 2 };
        return storeOver(
          simulatedLink(servers, 4, running.network, process),
          { groups: 4, key_prefix: 'sim' },
          { ...options, name: `store-${stores++}` },
        );
      },
      remove: async () => running.stop(),
    };
  },
});

describe('the scripts of a simulated server', () => {
  let service: RedisService;
  let client: Redis;
  beforeAll(async () => {
    service = await startRedis();
    client = new Redis(service.url);
    for (const { text } of scripts) await client.script('LOAD', text);
  }, 60_000);
  afterAll(async () => {
    client.disconnect();
    await service.stop();
  });

  /** The words of the call, as the client itself would send them. */
  async function askReal(call: Buffer): Promise<Reply> {
    const [command, ...words] = readCall(call);
    return client.callBuffer(String(command), ...words).catch((error: Error) => error) as Promise<Reply>;
  }

  const partition = fc.constantFrom('t:0', 't:1', 't:2');
  const id = fc.constantFrom('a', 'b', 'c', 'd');
  const offset = fc.integer({ min: 1, max: 9 });
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('flush' as const),
      partition,
      ids: fc.uniqueArray(id),
      offset,
      confirmed: fc.integer({ min: -1, max: 5 }),
      text: fc.string({ maxLength: 90 }),
      callKeys: fc.constantFrom(1, 2, 256),
      /** Which of the calls come not at all, or twice. */
      sent: fc.array(fc.constantFrom(0, 1, 1, 1, 2), { minLength: 4, maxLength: 4 }),
    }),
    fc.record({
      kind: fc.constant('load' as const),
      ids: fc.array(id, { minLength: 1, maxLength: 6 }),
      seen: fc.constantFrom(0, 1, 2),
      owned: fc.uniqueArray(partition),
      watched: fc.uniqueArray(partition),
      laterDays: fc.constantFrom(0, 0, 0, 40),
    }),
    fc.record({ kind: fc.constant('discard' as const), partition, id }),
    fc.record({ kind: fc.constant('fence' as const), partition }),
  );

  it('answer as the real ones do, and keep the same bytes', async () => {
    let runs = 0;
    let flushes = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
        const keys = redisKeys({ prefix: `twin-${runs++}`, job: 'test', recipe: '0123456789ab', groups: 1 });
        const nowMs = Date.now();
        const server = createRedisServer(() => nowMs);
        server.loadScripts(scripts);
        for (const each of steps) {
          for (const call of callsOf(each, keys, nowMs, `flush-${flushes++}`)) {
            expect(plain(server.execute(call))).toEqual(plain(await askReal(call)));
          }
        }
        for (const key of await client.keys(`${keys.pattern}`)) {
          const fields = server.keyspace.hash(key);
          if (/:(FENCE|FLUSH):/.test(key)) expect(String(server.keyspace.text(key))).toBe(await client.get(key));
          else expect(hex(Object.fromEntries(fields!))).toEqual(hex(await client.hgetallBuffer(key)));
        }
      }),
      { numRuns: 150 },
    );
  });

  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  function callsOf(each: Step, keys: ReturnType<typeof redisKeys>, nowMs: number, name: string): Buffer[] {
    const writer = createCallWriter();
    if (each.kind === 'flush') {
      const changes = each.ids.map((one) => change(one, each.offset, each.text));
      const facts = {
        partition: each.partition,
        name,
        fence: each.offset,
        confirmed: [each.confirmed],
        nowMs,
        retentionMs: () => 30 * day,
      };
      for (const [index, chunk] of planFlush(changes, keys, 1, each.callKeys).flat().entries()) {
        for (let k = 0; k < each.sent[index]; k++) writeFlush(writer, chunk, changes, facts, keys);
      }
    } else if (each.kind === 'load') {
      const version = each.seen === 0 ? 0 : Math.floor(nowMs) + each.seen - 1;
      const requests = each.ids.map((one) => request(one, version));
      const facts = {
        owned: new Set(each.owned),
        watched: new Map(each.watched.map((partition) => [partition, -1])),
        nowMs: nowMs + each.laterDays * day,
      };
      for (const chunk of planLoad(requests, keys).flat()) writeLoad(writer, chunk, requests, facts, keys);
    } else if (each.kind === 'discard') {
      return [
        encodeCommand('SET', keys.fence(0, each.partition), '-1'),
        encodeCommand('HDEL', `${keys.entityPrefixes('card')[0]}${each.id}`, each.partition),
      ];
    } else return [encodeCommand('GET', keys.fence(0, each.partition))];
    return writer.calls().map((call) => Buffer.from(call));
  }
});

/** Large hashes have no order: of a load's answer the sub-states are compared as a set, with the partitions that they are of. */
function plain(reply: Reply): unknown {
  if (reply instanceof Error) return reply.message.split(' ')[0];
  if (reply instanceof Uint8Array) return Buffer.from(reply).toString('hex');
  if (!Array.isArray(reply)) return reply;
  const [facts, names, fences, ...values] = reply as [Buffer, Buffer[], Buffer, ...Buffer[]];
  const entities: unknown[] = [];
  for (let at = 0, value = 0; at < facts.length; ) {
    const count = facts.readUInt16BE(at + 8);
    const subStates = Array.from({ length: count }, (_, k) => {
      const name = names[facts.readUInt16BE(at + 10 + 2 * k)];
      return `${name} ${values[value + k].toString('hex')}`;
    });
    entities.push({ version: facts.readDoubleBE(at), subStates: subStates.sort() });
    at += 10 + 2 * count;
    value += count;
  }
  return { entities, fences: fences.toString('hex') };
}

const hex = (fields: Readonly<Record<string, Buffer>>) =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value.toString('hex')]));
