import { startRedisCluster } from '../../infra/services/redis-cluster.ts';
import { startRedisReplica } from '../../infra/services/redis-replica.ts';
import { startRedis } from '../../infra/services/start.ts';
import type { Random } from '../../runtime/random.ts';
import { startProxy, type TcpProxy } from '../support/proxy.ts';

/**
 * One Redis that comes back with nothing, or with all that it has acknowledged (append-only file, synced each time); a primary with a
 * replica that lacks the newest when it takes over; or a Redis Cluster of three with replicas that take over by themselves.
 */
export type StoreKind = 'empty' | 'kept' | 'replicated' | 'cluster';

/** The Redis of a job. */
export interface ChaosStore {
  /** Keys of the config that lead to it. */
  readonly settings: Readonly<Record<string, string>>;
  /** What lies in front of it; nothing where others than the harness have to reach its servers. */
  readonly proxies: readonly TcpProxy[];
  /** A server of it, the one that is drawn, dies and is back in the end. `meanwhile` passes while something is amiss. */
  fail(meanwhile: () => Promise<void>, random: Random): Promise<void>;
  stop(): Promise<void>;
}

export function startStore(kind: StoreKind): Promise<ChaosStore> {
  if (kind === 'replicated') return startReplicated();
  if (kind === 'cluster') return startCluster();
  return startSingle(kind === 'kept' ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']);
}

async function startSingle(args: readonly string[]): Promise<ChaosStore> {
  const redis = await startRedis({ args });
  const proxy = await startProxy(redis.port);
  return {
    settings: { 'state.redis.url': `redis://127.0.0.1:${proxy.port}` },
    proxies: [proxy],
    async fail(meanwhile) {
      await redis.kill();
      await meanwhile();
      await redis.restart();
    },
    async stop() {
      await proxy.close();
      await redis.stop();
    },
  };
}

async function startReplicated(): Promise<ChaosStore> {
  const redis = await startRedisReplica();
  return {
    settings: { 'state.redis.url': redis.url },
    proxies: [],
    async fail(meanwhile) {
      await redis.cutReplication();
      await meanwhile();
      await redis.primary.kill();
      await redis.promote();
      await redis.rejoin();
    },
    stop: redis.stop,
  };
}

async function startCluster(): Promise<ChaosStore> {
  const cluster = await startRedisCluster({ replicas: true, nodeTimeoutMs: 1_000 });
  return {
    settings: { 'state.redis.cluster': JSON.stringify(cluster.addresses) },
    proxies: [],
    async fail(meanwhile, random) {
      const node = cluster.primaries[random.below(cluster.primaries.length)];
      await node.kill();
      await meanwhile();
      await node.restart();
      await cluster.whole();
    },
    stop: cluster.stop,
  };
}
