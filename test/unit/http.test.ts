import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { createReadiness, startHttp } from '../../runtime/http.ts';
import type { Logger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';

const host = '127.0.0.1';
const metrics = createMetrics();
const readiness = createReadiness([], () => {});

let holder: Server;
let port: number;
beforeEach(async () => {
  holder = createServer().listen(0, host);
  await once(holder, 'listening');
  port = (holder.address() as AddressInfo).port;
});
afterEach(async () => {
  if (holder.listening) await once(holder.close(), 'close');
});

let said: string[];
const log = { warn: (_: object, message: string) => said.push(message) } as unknown as Logger;

/** Starts on the port that is taken. @param sleep what happens at each wait, of so many milliseconds by the clock. */
function start(sleep: Clock['sleep']) {
  said = [];
  let now = 0;
  const clock: Clock = {
    ...systemClock,
    monotonic: () => now,
    sleep: (ms, signal) => {
      now += ms;
      return sleep(ms, signal);
    },
  };
  return startHttp({ port, host }, metrics, readiness, { clock, log, signal: new AbortController().signal });
}

describe('a port of the metrics that is taken', () => {
  it('is tried again until whoever has it is gone, which is said once', async () => {
    let waits = 0;
    const http = await start(async () => {
      if (++waits === 3) await once(holder.close(), 'close');
      return true;
    });
    const { status } = await fetch(`http://${host}:${http!.port}/healthz`);
    await http!.close();
    expect({ port: http!.port, status, waits }).toEqual({ port, status: 200, waits: 3 });
    expect(said).toEqual(['the port of the metrics is taken; it is tried again']);
  });

  it('is a fault of the config when it stays taken', async () => {
    let waitedMs = 0;
    const started = start(async (ms) => {
      waitedMs += ms;
      return true;
    });
    await expect(started).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringContaining('metrics.port') });
    expect({ waitedMs, said: said.length }).toEqual({ waitedMs: 30_000, said: 1 });
  });

  it('is not waited for by a process that is told to end', async () => {
    expect(await start(async () => false)).toBeUndefined();
  });
});
