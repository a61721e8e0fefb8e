import { openDoor } from './door.ts';
import { ask, infoOf, waitUntil } from './redis-commands.ts';
import { type RedisOptions, type RedisService, startRedis } from './start.ts';

/** A primary with one replica behind an address that leads to the primary, also after a promotion: as a name does elsewhere. */
export interface RedisReplicated {
  readonly url: string;
  /** The present primary. */
  readonly primary: RedisService;
  /** The present replica. */
  readonly replica: RedisService;
  /** Waits until the replica has all that the primary has. */
  caughtUp(): Promise<void>;
  /** From now on the replica learns nothing more: what is written until promote() will be lost. */
  cutReplication(): Promise<void>;
  /** The replica becomes the primary and the address leads there. The former primary follows it, if it is up, and else when rejoin() is called. */
  promote(): Promise<void>;
  /** Brings the replica up, if it is down, and has it follow the primary. */
  rejoin(): Promise<void>;
  /** Ends both and removes their data. */
  stop(): Promise<void>;
}

/** @param options for both servers. */
export async function startRedisReplica(options: Pick<RedisOptions, 'args'> = {}): Promise<RedisReplicated> {
  const args = ['--repl-diskless-sync-delay', '0', ...(options.args ?? [])];
  let [primary, replica] = await Promise.all([startRedis({ args }), startRedis({ args })]);
  const door = await openDoor(primary.port);

  async function follow(): Promise<void> {
    await ask(replica, 'REPLICAOF', primary.host, String(primary.port));
    await waitUntil('the link of the replica', async () => (await linkOf(replica)) === 'up');
  }

  async function rejoin(): Promise<void> {
    const isUp = await ask(replica, 'PING').then(
      () => true,
      () => false,
    );
    if (!isUp) await replica.restart();
    await follow();
  }

  const replicated: RedisReplicated = {
    url: `redis://127.0.0.1:${door.port}`,
    get primary() {
      return primary;
    },
    get replica() {
      return replica;
    },
    async caughtUp() {
      const offset = Number(await infoOf(primary, 'replication', 'master_repl_offset'));
      await waitUntil('the catching up of the replica', async () => {
        return Number(await infoOf(replica, 'replication', 'slave_repl_offset')) >= offset;
      });
    },
    cutReplication: async () => void (await ask(replica, 'REPLICAOF', 'NO', 'ONE')),
    async promote() {
      await ask(replica, 'REPLICAOF', 'NO', 'ONE');
      [primary, replica] = [replica, primary];
      door.lead(primary.port);
      await follow().catch(() => undefined);
    },
    rejoin,
    async stop() {
      await door.close();
      await Promise.all([primary.stop(), replica.stop()]);
    },
  };
  await follow();
  return replicated;
}

function linkOf(replica: RedisService): Promise<string | undefined> {
  return infoOf(replica, 'replication', 'master_link_status');
}
