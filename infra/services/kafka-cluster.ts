import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeirError } from '../../runtime/errors.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { kafkaClasspath } from './kafka-jars.ts';
import { clusterId, type KafkaPorts, nodeSettings, prepareNode } from './kafka-node.ts';
import { chooseWay, freePorts } from './machine.ts';
import { programRunner } from './runners.ts';
import { type Service, startService } from './service.ts';
import { kafkaNeeds } from './start.ts';

export interface KafkaClusterOptions {
  /** How many nodes, each broker and controller. Topics have as many replicas, of which one may be missing (none where there is one node). */
  readonly nodes: number;
  /**
   * Puts something in front of a second plain listener of each node, such as a proxy, and gives the port on the loopback interface
   * that clients are told instead of the listener's own.
   */
  front(listenerPort: number): Promise<number>;
  /** Further settings of server.properties; they win over the default ones. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface KafkaNode extends Service {
  /** Its number in the cluster, from 1. */
  readonly id: number;
}

export interface KafkaCluster {
  readonly nodes: readonly KafkaNode[];
  /** host:port of each node's own listener. */
  readonly brokers: readonly string[];
  /** host:port of what stands in front of each node. */
  readonly fronted: readonly string[];
  stop(): Promise<void>;
}

const READY_MS = 120_000;
const FRONTED = 'FRONTED';

/** Kafka nodes on this machine, which go with this process. Each may be killed and started again by itself. */
export async function startKafkaCluster(options: KafkaClusterOptions): Promise<KafkaCluster> {
  if ((await chooseWay(kafkaNeeds)) !== 'program') {
    throw new WeirError(
      'BROKER',
      `Kafka nodes that reach each other cannot be started in Docker: ${kafkaNeeds.install}`,
    );
  }
  const classpath = await kafkaClasspath();
  const numbers = Array.from({ length: options.nodes }, (_, index) => index + 1);
  const free = await freePorts(3 * options.nodes);
  const ports = numbers.map((_, index) => ({
    broker: free[3 * index],
    controller: free[3 * index + 1],
    secured: new Map(),
  }));
  const listeners = numbers.map((_, index) => free[3 * index + 2]);
  const fronts = await Promise.all(listeners.map((port) => options.front(port)));
  const id = clusterId();
  const voters = numbers.map((number, index) => `${number}@127.0.0.1:${ports[index].controller}`).join(',');
  const start = (number: number, index: number) => {
    const settings = clusterSettings(number, ports[index], { listener: listeners[index], front: fronts[index] });
    const all = { ...settings, ...replicated(options.nodes), 'controller.quorum.voters': voters, ...options.settings };
    return startNode(number, ports[index], all, { classpath, id });
  };
  const started = await Promise.allSettled(numbers.map(start));
  const nodes = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async () => void (await Promise.all(nodes.map((node) => node.stop())));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  return {
    nodes,
    brokers: ports.map(({ broker }) => `127.0.0.1:${broker}`),
    fronted: fronts.map((port) => `127.0.0.1:${port}`),
    stop,
  };
}

async function startNode(
  number: number,
  ports: KafkaPorts,
  settings: Record<string, string>,
  { classpath, id }: { readonly classpath: string; readonly id: string },
): Promise<KafkaNode> {
  const folder = mkdtempSync(join(tmpdir(), `weir-kafka-${number}-`));
  const log = join(folder, 'kafka.log');
  const args = await prepareNode(folder, classpath, settings, id).catch((cause: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw new WeirError('BROKER', `Kafka refuses the settings of node ${number}`, { cause });
  });
  const ready = () => isRegistered(`127.0.0.1:${ports.broker}`, number);
  const facts = { name: `Kafka node ${number}`, code: 'BROKER', log, deadlineMs: READY_MS, ready } as const;
  return Object.assign(await startService(facts, programRunner('java', args, { log, ownFolder: folder })), {
    id: number,
  });
}

function clusterSettings(
  number: number,
  ports: KafkaPorts,
  { listener, front }: { readonly listener: number; readonly front: number },
): Record<string, string> {
  const settings = nodeSettings(ports, '127.0.0.1');
  const and = (key: string, more: string) => ({ [key]: `${settings[key]},${more}` });
  return {
    ...settings,
    'node.id': String(number),
    ...and('listeners', `${FRONTED}://127.0.0.1:${listener}`),
    ...and('advertised.listeners', `${FRONTED}://127.0.0.1:${front}`),
    ...and('listener.security.protocol.map', `${FRONTED}:PLAINTEXT`),
  };
}

function replicated(nodes: number): Record<string, string> {
  const inSync = String(Math.max(1, nodes - 1));
  return {
    'default.replication.factor': String(nodes),
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': String(nodes),
    'transaction.state.log.replication.factor': String(nodes),
    'transaction.state.log.min.isr': inSync,
  };
}

/** True when the node answers, and the cluster counts it among its brokers. */
async function isRegistered(broker: string, number: number): Promise<boolean> {
  const client = plainKafka({
    brokers: [broker],
    connectionTimeout: 1000,
    requestTimeout: 2000,
    retry: { retries: 0 },
  });
  const admin = client.admin();
  try {
    await admin.connect();
    return (await admin.describeCluster()).brokers.some(({ nodeId }) => nodeId === number);
  } finally {
    await admin.disconnect();
  }
}
