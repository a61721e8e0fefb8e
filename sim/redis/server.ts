import type { Reply, Script } from '../../features/redis/call.ts';
import { flushScript } from '../../features/redis/flush-calls.ts';
import { loadScript } from '../../features/redis/load-calls.ts';
import { createKeyspace, type Keyspace, type KeyspaceWatch } from './keyspace.ts';
import { readCall } from './protocol.ts';
import { flushTwin, loadTwin, type ScriptTwin } from './scripts.ts';

/** One server with the slot groups that it has. */
export interface RedisServer {
  readonly keyspace: Keyspace;
  /** Nobody reaches it meanwhile. */
  isAway: boolean;
  /** One command, all at once. Errors come as values. */
  execute(call: Buffer): Reply;
  loadScripts(scripts: readonly Script[]): void;
  /** The process is started again: without its scripts, and without its data unless that was kept. */
  restart(isDataKept: boolean): void;
  /** Its replica takes over, which has not got the last changes, and none of the scripts. */
  failOver(lostChanges: number): void;
}

const twins: ReadonlyMap<string, ScriptTwin> = new Map([
  [flushScript.sha, flushTwin],
  [loadScript.sha, loadTwin],
]);

/**
 * @param now wall clock of the server, milliseconds since the epoch.
 * @param onFlush after each call of a flush that was carried out.
 */
export function createRedisServer(
  now: () => number,
  watch?: KeyspaceWatch,
  onFlush: (server: RedisServer) => void = () => {},
): RedisServer {
  const keyspace = createKeyspace(now, watch);
  const scripts = new Set<string>();

  function run(words: readonly Buffer[]): Reply {
    const [command, ...args] = words;
    const texts = () => args.map((word) => word.toString('utf8'));
    switch (command.toString('latin1')) {
      case 'EVALSHA': {
        const [sha, count] = [args[0].toString('latin1'), Number(args[1])];
        if (!scripts.has(sha)) return new Error('NOSCRIPT No matching script. Please use EVAL.');
        const keys = args.slice(2, 2 + count).map((key) => key.toString('utf8'));
        const answer = twins.get(sha)!(keyspace, keys, args.slice(2 + count));
        if (sha === flushScript.sha) onFlush(server);
        return answer;
      }
      case 'GET':
        return keyspace.text(texts()[0]) ?? null;
      case 'SET':
        keyspace.setText(texts()[0], args[1], Number.POSITIVE_INFINITY);
        return Buffer.from('OK');
      case 'HDEL':
        return keyspace.dropField(texts()[0], texts()[1]);
      default:
        return new Error(`ERR unknown command '${command.toString('latin1')}'`);
    }
  }

  const server: RedisServer = {
    keyspace,
    isAway: false,
    execute(call) {
      try {
        return run(readCall(call));
      } catch (error) {
        return error as Error;
      }
    },
    loadScripts(known) {
      for (const { sha } of known) scripts.add(sha);
    },
    restart(isDataKept) {
      scripts.clear();
      if (!isDataKept) keyspace.clear();
    },
    failOver(lostChanges) {
      scripts.clear();
      keyspace.undo(lostChanges);
    },
  };
  return server;
}
