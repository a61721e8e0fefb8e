import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { redisKeys } from '../../features/redis/keys.ts';
import { createRedisRewinder } from '../../features/redis/rewinder.ts';
import type { RedisStoreOptions } from '../../features/redis/store.ts';
import { LostStateError, type StateStore } from '../../features/store.ts';
import { type RedisCluster, startRedisCluster } from '../../infra/services/redis-cluster.ts';
import { ask } from '../../infra/services/redis-commands.ts';
import type { RedisService } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { describeRewinderContract } from '../contract/rewinder.ts';
import { change, contents, describeStateStoreContract, nobody, request } from '../contract/state-store.ts';
import { eventually } from '../support/eventually.ts';
import { openRedisStore, redisSettings } from '../support/redis.ts';

let cluster: RedisCluster;
let prefixes = 0;
beforeAll(async () => {
  cluster = await startRedisCluster({ replicas: true });
}, 60_000);
afterAll(() => cluster?.stop());

describeStateStoreContract('the Redis store over a cluster', {
  async create() {
    const key_prefix = `contract-${prefixes++}`;
    return {
      open: ({ job = 'test', recipe = '0123456789ab', now = systemClock.now } = {}) =>
        openRedisStore({ cluster: cluster.addresses, key_prefix }, { job, recipe, clock: { ...systemClock, now } }),
      remove: async () => {},
    };
  },
});

describeRewinderContract('the Redis rewinder over a cluster', async () => {
  const settings = { cluster: cluster.addresses, key_prefix: `rewinder-${prefixes++}` };
  const state = { job: 'test', recipe: '0123456789ab', clock: systemClock };
  return {
    openStore: () => openRedisStore(settings),
    openRewinder: () => createRedisRewinder(redisSettings(settings), state),
    remove: async () => {},
  };
});

/** As ask(), and nothing else happens in this process meanwhile. */
function askNow({ host, port }: RedisService, ...words: readonly string[]): void {
  const code = `const s = require('node:net').connect(${port}, '${host}', () => s.write('${words.join(' ')}\\r\\n'));
    s.once('data', (answer) => process.exit(String(answer) === '+OK\\r\\n' ? 0 : 1));`;
  execFileSync(process.execPath, ['-e', code]);
}

describe('the Redis store over a cluster', () => {
  let key_prefix: string;
  const stores: StateStore[] = [];
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });

  async function open(options: Partial<RedisStoreOptions> = {}, nodes = cluster.addresses): Promise<StateStore> {
    key_prefix = `own-${prefixes++}`;
    const store = await openRedisStore({ cluster: nodes, key_prefix }, options);
    stores.push(store);
    return store;
  }

  const ids = Array.from({ length: 400 }, (_, k) => `id-${k}`);
  const more = Array.from({ length: 6_000 }, (_, k) => `more-${k}`);
  const changes = (offset: number) => ids.map((id) => change(id, offset));
  const loadAll = (store: StateStore) =>
    store.load(
      ids.map((id) => request(id)),
      nobody,
    );
  const slots = () => redisKeys({ prefix: key_prefix, job: 'test', recipe: '0123456789ab', groups: 16 }).slots;

  it('spreads the groups over the nodes, found from one of them', async () => {
    const store = await open({}, cluster.addresses.slice(1, 2));
    await store.flush('t:0', changes(1), 1);
    const owners = slots().map((slot) => Math.floor((slot * 3) / 16_384));
    expect([0, 1, 2].map((node) => owners.filter((owner) => owner === node).length)).toEqual([5, 6, 5]);
    for (const node of cluster.primaries) {
      expect(await ask(node, 'SCAN', '0', 'MATCH', `${key_prefix}:*`, 'COUNT', '1000000')).toMatchObject([
        '0',
        expect.arrayContaining([expect.stringMatching(/card:id-/)]),
      ]);
    }
    expect((await loadAll(store)).map((answer) => contents(answer)['t:0'])).toEqual(ids.map((id) => `1 ${id}@1`));
  });

  it('follows a slot that moves, while it moves and after', async () => {
    const store = await open();
    await store.flush('t:0', changes(1), 1);
    const [slot] = slots();
    const [from, to] = [cluster.primaries[0], cluster.primaries[2]];
    const [fromId, toId] = [String(await ask(from, 'CLUSTER', 'MYID')), String(await ask(to, 'CLUSTER', 'MYID'))];
    await ask(to, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', fromId);
    await ask(from, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', toId);
    const keys = (await ask(from, 'CLUSTER', 'GETKEYSINSLOT', String(slot), '100000')) as string[];
    await ask(from, 'MIGRATE', to.host, String(to.port), '', '0', '10000', 'KEYS', ...keys);
    await store.flush('t:0', changes(2), 2);
    expect(await store.fence('t:0')).toBe(2);
    for (const node of [to, from]) await ask(node, 'CLUSTER', 'SETSLOT', String(slot), 'NODE', toId);
    await store.flush('t:0', changes(3), 3);
    expect((await loadAll(store)).map((answer) => contents(answer)['t:0'])).toEqual(ids.map((id) => `3 ${id}@3`));
    await cluster.moveSlot(slot, 0);
    expect(await store.fence('t:0')).toBe(3);
  });

  it('has its state rewound as a slot moves: what goes from node to node between their turns is not left over', async () => {
    for (const node of cluster.primaries) await ask(node, 'FLUSHALL');
    const store = await open();
    const keys = redisKeys({ prefix: key_prefix, job: 'test', recipe: '0123456789ab', groups: 16 });
    const [first, last] = [0, 15].map((group) => ids.concat(more).filter((id) => keys.groupOf(id) === group));
    // Enough of the first node for a call in the middle of it, and one of the last node.
    const stored = [...first.slice(0, 256), last[0]];
    await store.flush(
      't:0',
      stored.map((id) => change(id, 9)),
      9,
    );
    const slot = keys.slots[15];
    const [to, , from] = cluster.primaries;
    const [toId, fromId] = [String(await ask(to, 'CLUSTER', 'MYID')), String(await ask(from, 'CLUSTER', 'MYID'))];
    await ask(to, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', fromId);
    await ask(from, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', toId);
    const key = keys.entityPrefixes('card')[15] + last[0];
    const settings = redisSettings({ cluster: cluster.addresses, key_prefix });
    const state = { job: 'test', recipe: '0123456789ab', clock: systemClock };
    const limits = new Map([['t:0', 4]]);
    const rewinder = await createRedisRewinder(settings, state);
    let demands = 0;
    const erasing = rewinder.eraseBeyond(limits, () => {
      // The first node was looked through, the last was not yet.
      if (demands++ === 1) askNow(from, 'MIGRATE', to.host, String(to.port), key, '0', '10000');
    });
    await expect(erasing).rejects.toMatchObject({
      code: 'STORE',
      message: expect.stringContaining('run the command again'),
    });
    await cluster.moveSlot(slot, 0);
    expect(await rewinder.eraseBeyond(limits, () => {})).toEqual(new Map([['t:0', 1]]));
    await rewinder.close();
    await cluster.moveSlot(slot, 2);
  });

  it('goes on with the replica of a node that is gone, and says so of the groups in between', async () => {
    const troubles: unknown[] = [];
    const store = await open({ onTrouble: (error) => troubles.push(error) });
    await store.flush('t:0', changes(5), 5);
    await cluster.caughtUp();
    await cluster.primaries[1].kill();
    const { port } = cluster.primaries[1];
    const failed = await store.flush('t:0', changes(6), 6).catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: 'STORE',
      message: expect.stringMatching(`127.0.0.1:${port} is out of reach`),
    });
    await cluster.promote(1);
    await eventually(() => store.flush('t:0', changes(6), 6));
    expect(await store.fence('t:0')).toBe(6);
    expect((await loadAll(store)).map((answer) => contents(answer)['t:0'])).toEqual(ids.map((id) => `6 ${id}@6`));
    expect(troubles[0]).toMatchObject({ code: 'STORE' });
    expect(troubles.at(-1)).toBeUndefined();
    // Back to where it was, for the other tests.
    await cluster.primaries[1].restart();
    await cluster.whole();
    await eventually(() => store.flush('t:0', [], 6));
  });

  it('finds out that one node came back empty: the fence is gone, and the rest is still there', async () => {
    const store = await open();
    await store.flush('t:0', changes(5), 5);
    await ask(cluster.primaries[2], 'FLUSHALL');
    const refused = await store.flush('t:0', changes(7), 7).catch((error: unknown) => error);
    expect((refused as Error).cause).toBeInstanceOf(LostStateError);
    expect(await store.fence('t:0')).toBeUndefined();
    const kept = (await loadAll(store)).filter(({ subStates }) => subStates.length > 0);
    expect(kept.length).toBeGreaterThan(ids.length / 2);
    expect(kept.length).toBeLessThan(ids.length);
  });
});
