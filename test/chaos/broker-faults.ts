import { setTimeout as delay } from 'node:timers/promises';
import type { Trial } from './trial.ts';
import { until } from './until.ts';

const stallMs = 30_000;
const cuts = 5;

const allPartitions = async (trial: Trial) => [...(await trial.positions()).keys()];

/** A broker dies and comes back. */
export async function killBroker(trial: Trial): Promise<readonly number[]> {
  const { nodes } = trial.ground.cluster;
  const node = nodes[trial.random.below(nodes.length)];
  const served = await partitionsServedBy(trial, node.id);
  await node.kill();
  if (nodes.length > 1) await trial.progress(1 + trial.random.below(1000));
  await node.restart();
  await untilInSync(trial);
  return served;
}

/** A broker's machine is gone: nobody says that its connections have ended, and who makes one hears nothing. Later it is back. */
export async function loseBroker(trial: Trial): Promise<readonly number[]> {
  const { cluster, brokerProxies } = trial.ground;
  const at = trial.random.below(cluster.nodes.length);
  const node = cluster.nodes[at];
  const served = await partitionsServedBy(trial, node.id);
  brokerProxies[at].stall();
  await node.kill();
  await trial.progress(1 + trial.random.below(1000));
  await node.restart();
  brokerProxies[at].heal();
  await untilInSync(trial);
  return served;
}

/** Brokers are restarted in order, one after the other, each when the one before has caught up. */
export async function rollBrokers(trial: Trial): Promise<readonly number[]> {
  const nodes = [...trial.ground.cluster.nodes];
  while (nodes.length > 0) {
    const [node] = nodes.splice(trial.random.below(nodes.length), 1);
    await node.restart();
    await untilInSync(trial);
    await trial.progress(trial.random.below(400));
  }
  return allPartitions(trial);
}

/** Nothing comes from the brokers any more, nor gets there; then it does again. */
export async function stallBrokers(trial: Trial): Promise<readonly number[]> {
  const { brokerProxies } = trial.ground;
  for (const proxy of brokerProxies) proxy.stall();
  await delay(stallMs);
  for (const proxy of brokerProxies) proxy.heal();
  return allPartitions(trial);
}

/** All connections break, again and again. */
export async function cutConnections(trial: Trial): Promise<readonly number[]> {
  const { brokerProxies, store } = trial.ground;
  for (let cut = 0; cut < cuts; cut++) {
    for (const proxy of [...brokerProxies, ...store.proxies]) proxy.cut();
    await trial.progress(1 + trial.random.below(400));
  }
  return allPartitions(trial);
}

/** Input partitions that the broker leads, or the output of, or whose transactions or positions it coordinates. */
async function partitionsServedBy({ admin, topics: { input, scored, dead } }: Trial, id: number): Promise<number[]> {
  // Brokers that never had a transaction have no topic for them.
  const { topics: found } = await admin.fetchTopicMetadata();
  const partitionsOf = (topic: string) => found.find(({ name }) => name === topic)?.partitions ?? [];
  const leads = (topic: string, partition: number) =>
    partitionsOf(topic).some(({ partitionId, leader }) => partitionId === partition && leader === id);
  const coordinates = (topic: string, name: string) => leads(topic, placeOf(name, partitionsOf(topic).length));
  const isServed = (partition: number) =>
    [input, scored, dead].some((topic) => leads(topic, partition)) ||
    ['a', 'b'].some((turn) => coordinates(transactionsTopic, `${input}.${input}.${partition}.${turn}`));
  const all = found.find(({ name }) => name === input)!.partitions.map(({ partitionId }) => partitionId);
  return coordinates(positionsTopic, input) ? all : all.filter(isServed);
}

const transactionsTopic = '__transaction_state';
const positionsTopic = '__consumer_offsets';

/** Where the brokers keep what is of a transactional id or of a group: by the hash of Java's strings. */
function placeOf(name: string, partitions: number): number {
  let hash = 0;
  for (let k = 0; k < name.length; k++) hash = (Math.imul(31, hash) + name.charCodeAt(k)) | 0;
  return (hash & 0x7fffffff) % partitions;
}

/** Until every replica of the trial's topics has caught up. */
async function untilInSync({ admin, topics }: Trial): Promise<void> {
  await until('all replicas are in sync', async () => {
    const found = await admin.fetchTopicMetadata({ topics: Object.values(topics) }).catch(() => undefined);
    const partitions = found?.topics.flatMap(({ partitions }) => partitions);
    return partitions?.every(({ isr, replicas, leader }) => leader >= 0 && isr.length === replicas.length);
  });
}
