import { createServer, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { encodeCommand } from '../../features/redis/call.ts';
import { redisStoreConfig } from '../../features/redis/config.ts';
import { connectRedis, type RedisLink } from '../../features/redis/connection.ts';
import { systemClock } from '../../runtime/clock.ts';
import { readCall } from '../../sim/redis/protocol.ts';

/** A node that cannot reach the others, while we can, is nothing that real ones on one machine can be made to be. */
interface Node {
  readonly port: number;
  /** First slot, last slot, port of the primary. */
  slots: readonly (readonly [number, number, number])[];
  answer: string;
  calls: number;
}

const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`;
const info = 'redis_version:7.2.0\r\ncluster_enabled:1\r\nmaxmemory_policy:noeviction\r\nrole:master\r\nloading:0\r\n';

function slotsReply({ slots }: Node): string {
  const ranges = slots.map(
    ([first, last, port]) => `*3\r\n:${first}\r\n:${last}\r\n*2\r\n${bulk('127.0.0.1')}:${port}\r\n`,
  );
  return `*${slots.length}\r\n${ranges.join('')}`;
}

const servers: Server[] = [];
let link: RedisLink | undefined;
afterEach(() => {
  link?.close();
  for (const server of servers.splice(0)) server.close();
});

async function startNode(): Promise<Node> {
  function reply(words: readonly string[]): string {
    if (words[0] === 'EVALSHA') {
      node.calls++;
      return node.answer;
    }
    if (words[0] === 'CLUSTER') return slotsReply(node);
    return /info/i.test(words[0]) ? bulk(info) : '+OK\r\n';
  }
  const server = createServer((socket) => {
    socket.on('error', () => {});
    // Calls this short come whole.
    socket.on('data', (data) => {
      for (let at = 0; at < data.length; ) {
        const next = data.indexOf('\r\n*', at);
        const end = next < 0 ? data.length : next + 2;
        socket.write(reply(readCall(data.subarray(at, end)).map(String)));
        at = end;
      }
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const node: Node = { port: (server.address() as { port: number }).port, slots: [], answer: ':1\r\n', calls: 0 };
  return node;
}

describe('a node of a cluster that has lost its slots and does not know who has them', () => {
  it.each(['CLUSTERDOWN The cluster is down', 'MASTERDOWN Link with MASTER is down', 'LOADING Redis is loading'])(
    'is left for the one that the others name: %s',
    async (refusal) => {
      const [former, other, next] = [await startNode(), await startNode(), await startNode()];
      const before = [
        [0, 8191, former.port],
        [8192, 16_383, other.port],
      ] as const;
      former.slots = before;
      other.slots = before;
      const cluster = [former, other].map(({ port }) => `127.0.0.1:${port}`);
      link = await connectRedis(redisStoreConfig.parse({ cluster }), {
        name: 't',
        slots: [100, 9_000],
        clock: systemClock,
      });
      const call = () => link!.exchange([0, 1].map((group) => ({ group, bytes: encodeCommand('EVALSHA', 'x', '0') })));
      expect(await call()).toEqual([1, 1]);
      former.answer = `-${refusal}\r\n`;
      next.slots = other.slots = [[0, 8191, next.port], before[1]];
      // A call each time, quicker than the slots are asked for.
      while ((await call())[0] instanceof Error) await delay(20);
      expect(next.calls).toBe(1);
      expect(link.places()).toEqual([next, other].map(({ port }) => `127.0.0.1:${port}`));
    },
  );
});
