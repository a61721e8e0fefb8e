import { type KafkaCluster, startKafkaCluster } from '../../infra/services/kafka-cluster.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { startProxy, type TcpProxy } from '../support/proxy.ts';

/** Which services a fault wants. */
export interface GroundKind {
  readonly brokers: 1 | 3;
  /** Redis keeps what it has acknowledged (append-only file, synced each time), or nothing at all. */
  readonly redisKeeps: boolean;
}

/** Real services. The job reaches them by way of proxies only, the harness directly. */
export interface Ground {
  readonly cluster: KafkaCluster;
  readonly redis: RedisService;
  readonly kafka: TestKafka;
  /** One in front of each node of the cluster, in their order. */
  readonly brokerProxies: readonly TcpProxy[];
  readonly redisProxy: TcpProxy;
  /** Everything gets through again. */
  heal(): void;
  stop(): Promise<void>;
}

const append = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** @param settings further ones of the brokers. */
export async function startGround(
  { brokers, redisKeeps }: GroundKind,
  settings: Readonly<Record<string, string>> = {},
): Promise<Ground> {
  const proxies = new Map<string, TcpProxy>();
  const front = async (port: number) => {
    const proxy = await startProxy(port);
    proxies.set(`127.0.0.1:${proxy.port}`, proxy);
    return proxy.port;
  };
  const [cluster, redis] = await Promise.all([
    startKafkaCluster({ nodes: brokers, front, settings }),
    startRedis({ args: redisKeeps ? append : ['--appendonly', 'no'] }),
  ]);
  const brokerProxies = cluster.fronted.map((address) => proxies.get(address)!);
  const redisProxy = await startProxy(redis.port);
  const kafka = testKafka(cluster.brokers);
  const heal = () => {
    for (const proxy of [...brokerProxies, redisProxy]) proxy.heal();
  };
  return {
    cluster,
    redis,
    kafka,
    brokerProxies,
    redisProxy,
    heal,
    async stop() {
      heal();
      await kafka.close();
      await Promise.all([...brokerProxies, redisProxy].map((proxy) => proxy.close()));
      await Promise.all([cluster.stop(), redis.stop()]);
    },
  };
}
