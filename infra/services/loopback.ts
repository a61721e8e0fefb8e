import { Server } from 'node:net';

/**
 * Preloaded (`node --import`) into a program that would listen on every interface and has no setting for it: whatever it
 * listens on is the loopback interface's.
 */
const listen = Server.prototype.listen as (this: Server, ...args: unknown[]) => Server;

Server.prototype.listen = function (this: Server, ...args: unknown[]): Server {
  const [port, ...rest] = args;
  if (typeof port !== 'number') throw new Error('loopback.ts knows listen(port, ...) alone');
  const callbacks = rest.filter((argument) => typeof argument === 'function');
  return listen.call(this, { port, host: '127.0.0.1' }, ...callbacks);
} as typeof Server.prototype.listen;
