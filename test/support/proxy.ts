import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A network that misbehaves when told: a TCP proxy on the loopback interface in front of one port there. */
export interface TcpProxy {
  readonly port: number;
  /** Nothing gets through any more, and nobody is told: connections stay, new ones are accepted. */
  stall(): void;
  /** Each piece of up to 64 KiB waits for so long, and for its share of the bandwidth, one after the other. */
  slow(to: { readonly delayMs?: number; readonly bytesPerSecond?: number }): void;
  /** Everything gets through again at once; what was held comes first. */
  heal(): void;
  /** Ends all connections. New ones are served. */
  cut(): void;
  close(): Promise<void>;
}

export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let delayMs = 0;
  let bytesPerSecond = Number.POSITIVE_INFINITY;
  let healed: Promise<void> | undefined;
  let wake = () => {};

  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.once('close', () => sockets.delete(socket));
  }

  async function carry(from: Socket, to: Socket): Promise<void> {
    for await (const piece of from as AsyncIterable<Buffer>) {
      const waitMs = delayMs + (piece.length * 1000) / bytesPerSecond;
      if (waitMs > 0) await delay(waitMs);
      while (healed !== undefined) await healed;
      if (!to.write(piece)) await once(to, 'drain');
    }
    to.end();
  }

  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [near, far]) keep(socket);
    const end = () => {
      near.destroy();
      far.destroy();
    };
    // What breaks one side breaks the other: that is all there is to say of it.
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from.on('error', end);
      carry(from, to).catch(end);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  function heal(): void {
    delayMs = 0;
    bytesPerSecond = Number.POSITIVE_INFINITY;
    healed = undefined;
    wake();
  }

  return {
    port: (server.address() as AddressInfo).port,
    stall() {
      healed ??= new Promise((resolve) => {
        wake = resolve;
      });
    },
    slow(to) {
      delayMs = to.delayMs ?? 0;
      bytesPerSecond = to.bytesPerSecond ?? Number.POSITIVE_INFINITY;
    },
    heal,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      heal();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
