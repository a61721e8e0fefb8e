import { type KafkaCluster, startKafkaCluster } from '../../infra/services/kafka-cluster.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { startProxy, type TcpProxy } from '../support/proxy.ts';
import { type ChaosStore, type StoreKind, startStore } from './store.ts';

/** Which services a fault wants. */
export interface GroundKind {
  readonly brokers: 1 | 3;
  readonly store: StoreKind;
}

/** Real services. The job reaches them by way of proxies where that can be, the harness the brokers directly. */
export interface Ground {
  readonly cluster: KafkaCluster;
  readonly store: ChaosStore;
  readonly kafka: TestKafka;
  /** One in front of each node of the cluster, in their order. */
  readonly brokerProxies: readonly TcpProxy[];
  /** Everything gets through again. */
  heal(): void;
  stop(): Promise<void>;
}

/** @param settings further ones of the brokers. */
export async function startGround(
  { brokers, store: kind }: GroundKind,
  settings: Readonly<Record<string, string>> = {},
): Promise<Ground> {
  const proxies = new Map<string, TcpProxy>();
  const front = async (port: number) => {
    const proxy = await startProxy(port);
    proxies.set(`127.0.0.1:${proxy.port}`, proxy);
    return proxy.port;
  };
  const [cluster, store] = await Promise.all([
    startKafkaCluster({ nodes: brokers, front, settings }),
    startStore(kind),
  ]);
  const brokerProxies = cluster.fronted.map((address) => proxies.get(address)!);
  const kafka = testKafka(cluster.brokers);
  const heal = () => {
    for (const proxy of [...brokerProxies, ...store.proxies]) proxy.heal();
  };
  return {
    cluster,
    store,
    kafka,
    brokerProxies,
    heal,
    async stop() {
      heal();
      await kafka.close();
      await Promise.all(brokerProxies.map((proxy) => proxy.close()));
      await Promise.all([cluster.stop(), store.stop()]);
    },
  };
}
