import type { GroupCall, Reply } from '../../features/redis/call.ts';
import type { RedisLink } from '../../features/redis/connection.ts';
import { redisFault } from '../../features/redis/faults.ts';
import { flushScript } from '../../features/redis/flush-calls.ts';
import { loadScript } from '../../features/redis/load-calls.ts';
import { WeirError } from '../../runtime/errors.ts';
import { Lost, type Network, type Port } from '../network.ts';
import type { SimulatedProcess } from '../process.ts';
import type { RedisServer } from './server.ts';

const address = 'redis:6379';
const flushSha = Buffer.from(flushScript.sha);
const loadSha = Buffer.from(loadScript.sha);

/** A process's connections to the servers; slot groups go to them in turn. */
export function simulatedLink(
  servers: readonly RedisServer[],
  groups: number,
  network: Network,
  process: SimulatedProcess,
): RedisLink {
  const connections = servers.map(() => network.connect(process));

  function reach<T>(at: number, port: Port, work: (server: RedisServer) => T): Promise<T> {
    return connections[at].ask(port, () => {
      if (servers[at].isAway) throw new Lost('there is nobody there');
      return work(servers[at]);
    });
  }

  return {
    address,
    places: () => Array.from({ length: groups }, (_, group) => `${address}/${group % servers.length}`),
    exchange: (calls) =>
      Promise.all(
        calls.map(({ group, bytes }: GroupCall) => {
          // The buffer is used again once there is an answer.
          const call = Buffer.from(bytes);
          return reach(group % servers.length, portOf(call), (server) => server.execute(call)).catch(
            (error: Error): Reply => error,
          );
        }),
      ),
    async loadScripts(scripts) {
      await Promise.all(servers.map((_, at) => reach(at, 'scripts', (server) => server.loadScripts(scripts))));
    },
    demand() {},
    fault: (error, doing) =>
      error instanceof Lost
        ? new WeirError('STORE', `Redis at ${address} is out of reach while ${doing} (${error.message})`)
        : redisFault(error, doing, address),
    close() {},
  };
}

function portOf(call: Buffer): Port {
  if (call.includes(flushSha)) return 'flush';
  return call.includes(loadSha) ? 'load' : 'fence';
}
