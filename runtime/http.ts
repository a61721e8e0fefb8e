import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from './clock.ts';
import { describeError, WeirError } from './errors.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

/** Whether the process can do its work, component by component. */
export interface Readiness {
  /** @param reason why not, for the people who look at /readyz; unused when ready. */
  setReady(component: string, ready: boolean, reason: string): void;
  /** The component does its work, but less well than it should. @param reason undefined: as well as it should. */
  setDegraded(component: string, reason: string | undefined): void;
  /** The component is not this process's business any more. */
  forget(component: string): void;
  /** Reasons by component that is not ready; empty when all are. */
  troubles(): Readonly<Record<string, string>>;
  /** Reasons by component that is degraded. */
  degradations(): Readonly<Record<string, string>>;
}

/** @param onChange told whether everything is ready, at every change. */
export function createReadiness(starting: readonly string[], onChange: (ready: boolean) => void): Readiness {
  const reasons = new Map(starting.map((component) => [component, 'starting']));
  const lesser = new Map<string, string>();
  const changed = () => onChange(reasons.size === 0);
  changed();
  return {
    setReady(component, ready, reason) {
      if (ready) reasons.delete(component);
      else reasons.set(component, reason);
      changed();
    },
    setDegraded(component, reason) {
      if (reason === undefined) lesser.delete(component);
      else lesser.set(component, reason);
    },
    forget(component) {
      lesser.delete(component);
      reasons.delete(component);
      changed();
    },
    troubles: () => Object.fromEntries(reasons),
    degradations: () => Object.fromEntries(lesser),
  };
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Address {
  /** 0: any free one. */
  readonly port: number;
  readonly host: string;
}

interface Trying {
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborting ends the tries. */
  readonly signal: AbortSignal;
}

/** A port that is taken is tried again for so long: a process that had it before, and drains, keeps it to its end. */
const patienceMs = 30_000;
const againMs = 200;

/**
 * Serves /metrics (Prometheus text), /healthz (200 while the process answers at all) and /readyz (200, with what is degraded, or 503 with the
 * reasons). Undefined when the signal aborted before the port could be had.
 * @throws WeirError CONFIG when the port cannot be had.
 */
export async function startHttp(
  address: Address,
  metrics: Pick<Metrics, 'text' | 'contentType'>,
  readiness: Pick<Readiness, 'troubles' | 'degradations'>,
  trying: Trying,
): Promise<HttpServer | undefined> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'only GET\n');
    else if (path === '/healthz') answer(response, 200, 'ok\n');
    else if (path === '/readyz') {
      const troubles = readiness.troubles();
      const isReady = Object.keys(troubles).length === 0;
      const body = { ready: isReady, troubles, degraded: readiness.degradations() };
      answer(response, isReady ? 200 : 503, `${JSON.stringify(body)}\n`, 'application/json');
    } else if (path === '/metrics') {
      metrics.text().then(
        (text) => answer(response, 200, text, metrics.contentType),
        (error: unknown) => answer(response, 500, `${describeError(error)}\n`),
      );
    } else answer(response, 404, 'there are /metrics, /healthz and /readyz\n');
  });
  if (!(await hasPort(server, address, trying))) return undefined;
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** @returns false when the signal aborted first. */
async function hasPort(server: Server, { port, host }: Address, { clock, log, signal }: Trying): Promise<boolean> {
  const from = clock.monotonic();
  for (let isSaid = false; ; isSaid = true) {
    try {
      await once(server.listen(port, host), 'listening');
      return true;
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (!isTaken || clock.monotonic() - from >= patienceMs) {
        const place = `${host}:${port}`;
        const cause = describeError(error);
        throw new WeirError('CONFIG', `metrics cannot be served at ${place}: ${cause}; set metrics.port to a free one`);
      }
    }
    if (!isSaid) log.warn({ host, port, for_ms: patienceMs }, 'the port of the metrics is taken; it is tried again');
    if (!(await clock.sleep(againMs, signal))) return false;
  }
}

function answer(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
