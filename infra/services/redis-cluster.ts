import { freePorts } from './machine.ts';
import { ask, infoOf, waitUntil } from './redis-commands.ts';
import { type RedisOptions, type RedisService, startRedis } from './start.ts';

const SLOTS = 16_384;
const NODES = 3;

/** A Redis Cluster of three primaries, each with a third of the slots. */
export interface RedisCluster {
  /** host:port of each primary, as `state.redis.cluster` takes them. */
  readonly addresses: readonly string[];
  readonly primaries: readonly RedisService[];
  /** One per primary in the same order; none without replicas. */
  readonly replicas: readonly RedisService[];
  /** Waits until all nodes are up and see the whole cluster: one that was restarted refuses calls for some seconds. */
  whole(): Promise<void>;
  /** Waits until every replica has all that its primary has. */
  caughtUp(): Promise<void>;
  /** Makes a replica the primary of its slots, whether or not the former one lives: what it has not been told is lost. */
  promote(index: number): Promise<void>;
  /** Gives a slot's keys and the slot to another primary, with clients being told ASK and then MOVED. */
  moveSlot(slot: number, to: number): Promise<void>;
  /** Ends all and removes their data. */
  stop(): Promise<void>;
}

export interface RedisClusterOptions extends Pick<RedisOptions, 'args'> {
  /** One replica per primary. Default: none. */
  readonly replicas?: boolean;
  /**
   * After such a silence a node counts as gone: its slots are refused, or its replica takes over by itself. Default: longer than the machine
   * stands still.
   */
  readonly nodeTimeoutMs?: number;
}

export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const count = options.replicas ? 2 * NODES : NODES;
  const busPorts = await freePorts(count);
  const nodes = await Promise.all(busPorts.map((bus) => startNode(bus, options)));
  const primaries = nodes.slice(0, NODES);
  const replicas = nodes.slice(NODES);
  const ids = await Promise.all(nodes.map(async (node) => String(await ask(node, 'CLUSTER', 'MYID'))));
  await Promise.all(primaries.map(takeSlots));
  for (let index = 1; index < count; index++) {
    await ask(nodes[0], 'CLUSTER', 'MEET', nodes[index].host, String(nodes[index].port), String(busPorts[index]));
  }
  await waitUntil('the meeting of the nodes', async () => {
    const known = await Promise.all(nodes.map((node) => clusterInfo(node, 'cluster_known_nodes')));
    return known.every((all) => Number(all) === count);
  });
  for (const [index, replica] of replicas.entries()) await replicate(replica, ids[index]);
  const whole = () =>
    waitUntil('a cluster that is ok', async () => {
      const states = await Promise.all(nodes.map((node) => clusterInfo(node, 'cluster_state')));
      return states.every((state) => state === 'ok');
    });
  await whole();

  return {
    addresses: primaries.map(({ host, port }) => `${host}:${port}`),
    primaries,
    replicas,
    whole,
    async caughtUp() {
      for (const [index, replica] of replicas.entries()) {
        const offset = Number(await infoOf(primaries[index], 'replication', 'master_repl_offset'));
        await waitUntil('the catching up of the replica', async () => {
          return Number(await infoOf(replica, 'replication', 'slave_repl_offset')) >= offset;
        });
      }
    },
    async promote(index) {
      await ask(replicas[index], 'CLUSTER', 'FAILOVER', 'TAKEOVER');
      await waitUntil('the promotion', async () => (await infoOf(replicas[index], 'replication', 'role')) === 'master');
    },
    async moveSlot(slot, to) {
      const from = await ownerOf(slot, primaries, ids);
      await ask(primaries[to], 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', ids[from]);
      await ask(primaries[from], 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', ids[to]);
      const keys = (await ask(primaries[from], 'CLUSTER', 'GETKEYSINSLOT', String(slot), '100000')) as string[];
      const target = [primaries[to].host, String(primaries[to].port), '', '0', '10000', 'KEYS', ...keys];
      if (keys.length > 0) await ask(primaries[from], 'MIGRATE', ...target);
      for (const node of [primaries[to], primaries[from]]) {
        await ask(node, 'CLUSTER', 'SETSLOT', String(slot), 'NODE', ids[to]);
      }
    },
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  };
}

/** The node's part of the cluster's wiring lies in its data folder: it comes back on the same port, with its slots and without keys. */
function startNode(busPort: number, { nodeTimeoutMs = 30_000, args = [] }: RedisClusterOptions): Promise<RedisService> {
  const cluster = ['--cluster-enabled', 'yes', '--cluster-port', String(busPort)];
  const times = ['--cluster-node-timeout', String(nodeTimeoutMs), '--repl-diskless-sync-delay', '0'];
  return startRedis({ args: [...cluster, ...times, ...args] });
}

async function takeSlots(node: RedisService, index: number): Promise<void> {
  const first = Math.round((index * SLOTS) / NODES);
  const last = Math.round(((index + 1) * SLOTS) / NODES) - 1;
  await ask(node, 'CLUSTER', 'ADDSLOTSRANGE', String(first), String(last));
  await ask(node, 'CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
}

async function replicate(replica: RedisService, primaryId: string): Promise<void> {
  await ask(replica, 'CLUSTER', 'REPLICATE', primaryId);
  await waitUntil('the link of the replica', async () => {
    return (await infoOf(replica, 'replication', 'master_link_status')) === 'up';
  });
}

async function clusterInfo(node: RedisService, name: string): Promise<string | undefined> {
  const info = String(await ask(node, 'CLUSTER', 'INFO'));
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}

async function ownerOf(slot: number, primaries: readonly RedisService[], ids: readonly string[]): Promise<number> {
  const ranges = (await ask(primaries[0], 'CLUSTER', 'SLOTS')) as [number, number, [string, number, string]][];
  const [, , [, , id]] = ranges.find(([first, last]) => first <= slot && slot <= last)!;
  return ids.indexOf(id);
}
