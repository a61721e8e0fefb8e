import type { Clock } from '../../runtime/clock.ts';
import type { WeirError } from '../../runtime/errors.ts';
import type { GroupCall, Reply, Script } from './call.ts';
import { connectCluster } from './cluster.ts';
import type { RedisStoreConfig } from './config.ts';
import { addressOf, openNode } from './node.ts';
import { slowness } from './server-checks.ts';

/** What the store needs of Redis. */
export interface RedisLink {
  /** host:port, for messages. */
  readonly address: string;
  /** Sends the calls in one write each to whoever has their slot groups and waits for all answers. Errors come as values, one per call. */
  exchange(calls: readonly GroupCall[]): Promise<Reply[]>;
  /** By group: the address of the server that has it now. */
  places(): readonly string[];
  /** Makes the scripts known wherever calls go to. */
  loadScripts(scripts: readonly Script[]): Promise<void>;
  /** @throws WeirError STORE at once while there is no connection. */
  demand(doing: string): void;
  /** The WeirError for an error of a call. */
  fault(error: unknown, doing: string): WeirError;
  close(): void;
}

export interface LinkOptions {
  /** Name of the connections at the server. */
  readonly name: string;
  /** By group: the cluster slot of its keys. */
  readonly slots: readonly number[];
  readonly clock: Clock;
  /** Told when a connection is lost, and with undefined when all are back. */
  readonly onTrouble?: (error: WeirError | undefined) => void;
  /** Told what is no fault but a person should know. */
  readonly onWarning?: (sentence: string) => void;
}

const defaultUrl = 'redis://localhost:6379';

/**
 * Connects and checks that the server, or each node of the cluster, is fit to keep state. Later losses of a connection are mended by the
 * client, and whoever answers then is checked as well; calls made meanwhile are rejected at once, none is kept or repeated here.
 * @throws WeirError STORE when a server does not answer within `connect_timeout_ms`, refuses, is too old, takes no writes, or may evict;
 *   CONFIG when a TLS file cannot be read.
 */
export function connectRedis(config: RedisStoreConfig, options: LinkOptions): Promise<RedisLink> {
  return config.cluster === undefined ? connectSingle(config, options) : connectCluster(config, options);
}

async function connectSingle(config: RedisStoreConfig, options: LinkOptions): Promise<RedisLink> {
  const { name, slots, clock, onTrouble, onWarning } = options;
  let hasBegun = false;
  const node = openNode(config, addressOf(config.url ?? defaultUrl), name, (isReady) => {
    if (hasBegun) onTrouble?.(isReady ? undefined : node.lost());
  });
  try {
    await node.ready();
    const slow = await slowness(node, clock);
    if (slow !== undefined) onWarning?.(slow);
  } catch (error) {
    node.close();
    throw error;
  }
  hasBegun = true;
  return {
    address: node.address,
    exchange: (calls) => node.exchange(calls.map(({ bytes }) => bytes)),
    places: () => slots.map(() => node.address),
    loadScripts: (scripts) => node.loadScripts(scripts),
    demand(doing) {
      if (!node.isReady) throw node.lost(doing);
    },
    fault: node.fault,
    close: () => node.close(),
  };
}
