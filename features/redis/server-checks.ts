import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { RedisNode } from './node.ts';

const leastVersion = '6.2';
/** A batch waits for about two round trips. */
const slowMs = 5;
const pings = 5;

/**
 * Checks that the server is fit to keep state.
 * @param info its answer to INFO.
 * @throws WeirError STORE when it is too old, may evict, is a replica (one of a cluster names its primary), or is (not) part of a cluster.
 */
export function checkServer(address: string, info: string, isClusterWanted: boolean): void {
  const facts = new Map(
    info.split('\r\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
  const version = facts.get('redis_version') ?? 'unknown';
  if (!isAtLeast(version, leastVersion)) {
    throw new WeirError('STORE', `Redis at ${address} has the version ${version}; weir needs ${leastVersion} or later`);
  }
  const isCluster = facts.get('cluster_enabled') === '1';
  if (isCluster !== isClusterWanted) {
    const sentence = isCluster
      ? 'is part of a Redis Cluster: name its nodes in state.redis.cluster in place of the url'
      : 'is not part of a Redis Cluster: name it in state.redis.url in place of cluster';
    throw new WeirError('STORE', `Redis at ${address} ${sentence}`);
  }
  const policy = facts.get('maxmemory_policy') ?? 'not told by INFO';
  if (policy !== 'noeviction') {
    throw new WeirError(
      'STORE',
      `Redis at ${address} may evict state: its maxmemory-policy is ${policy}; set it to noeviction (in redis.conf, or CONFIG SET maxmemory-policy noeviction)`,
    );
  }
  if (!isCluster && facts.get('role') === 'slave') {
    throw new WeirError('STORE', `Redis at ${address} is a replica, which takes no writes: name the primary`);
  }
}

/** A sentence when the way to the server and back takes long; undefined when it does not. */
export async function slowness(node: RedisNode, clock: Clock): Promise<string | undefined> {
  let leastMs = Number.POSITIVE_INFINITY;
  for (let ping = 0; ping < pings; ping++) {
    const startedAt = clock.monotonic();
    // A refusal has come the same way.
    await node.ask('measuring the way to it', 'PING').catch(() => undefined);
    leastMs = Math.min(leastMs, clock.monotonic() - startedAt);
  }
  if (leastMs < slowMs) return undefined;
  return `Redis at ${node.address} takes ${leastMs.toFixed(1)} ms to answer a PING: each batch waits for it about twice; bring it nearer`;
}

function isAtLeast(version: string, least: string): boolean {
  const [major, minor] = version.split('.').map(Number);
  const [leastMajor, leastMinor] = least.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
