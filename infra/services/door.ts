import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** An address that leads to a server, and later to another one, as a name does after a fail-over. */
export interface Door {
  readonly port: number;
  /** From now on connections lead there; those that are open are cut. */
  lead(port: number): void;
  close(): Promise<void>;
}

/** @param port of a server on the loopback interface. */
export async function openDoor(port: number): Promise<Door> {
  let target = port;
  const open = new Set<Socket>();
  const server = createServer((inner) => {
    const outer = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ]) {
      open.add(one);
      one.setNoDelay(true);
      one.on('error', () => {});
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    lead(port) {
      target = port;
      cut();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
