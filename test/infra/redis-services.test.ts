import { afterEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { type RedisCluster, startRedisCluster } from '../../infra/services/redis-cluster.ts';
import { startRedisReplica } from '../../infra/services/redis-replica.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe('startRedisReplica', () => {
  it('has an address that follows a promotion, and what was cut off from the replica is lost', async () => {
    const redis = await startRedisReplica();
    ends.push(() => redis.stop());
    const client = new Redis(redis.url);
    ends.push(() => client.disconnect());
    client.on('error', () => {});
    await client.set('kept', '1');
    await redis.caughtUp();
    await redis.cutReplication();
    await client.set('lost', '1');
    const former = redis.primary;
    await former.kill();
    await redis.promote();
    expect(redis.replica).toBe(former);
    expect(await client.mget('kept', 'lost')).toEqual(['1', null]);
    await redis.rejoin();
    await client.set('later', '2');
    await redis.caughtUp();
    const replica = new Redis(former.url);
    ends.push(() => replica.disconnect());
    expect(await replica.get('later')).toBe('2');
  });
});

describe('startRedisCluster', () => {
  const clientOf = ({ addresses }: RedisCluster) => {
    const [host, port] = addresses[0].split(':');
    // It asks again until it has found out who has the slot now.
    const client = new Redis.Cluster([{ host, port: Number(port) }], { maxRedirections: 1_000 });
    ends.push(() => client.disconnect());
    return client;
  };

  it('spreads the slots over three primaries; one comes back empty and with its slots', async () => {
    const cluster = await startRedisCluster();
    ends.push(() => cluster.stop());
    const client = clientOf(cluster);
    const names = Array.from({ length: 30 }, (_, index) => `key-${index}`);
    for (const name of names) await client.set(name, '1');
    const sizes = await Promise.all(client.nodes('master').map((node) => node.dbsize()));
    expect(sizes).toHaveLength(3);
    for (const size of sizes) expect(size).toBeGreaterThan(0);
    await cluster.primaries[1].kill();
    await cluster.primaries[1].restart();
    await cluster.whole();
    const left = await Promise.all(names.map((name) => client.get(name)));
    expect(left).toContain(null);
    expect(left).toContain('1');
  });

  it('moves a slot, and lets a replica take over', async () => {
    const cluster = await startRedisCluster({ replicas: true });
    ends.push(() => cluster.stop());
    const client = clientOf(cluster);
    await client.set('foo', 'bar');
    // The slot of foo, by Redis's own documentation.
    await cluster.moveSlot(12_182, 0);
    expect(await client.get('foo')).toBe('bar');
    await cluster.caughtUp();
    await cluster.primaries[0].kill();
    await cluster.promote(0);
    expect(await client.get('foo')).toBe('bar');
  });
});
