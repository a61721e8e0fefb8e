import { setTimeout as delay } from 'node:timers/promises';
import { Command, Redis, type RedisOptions } from 'ioredis';
import { tlsOptions } from '../../runtime/config/tls.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import type { Reply, Script } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { isRefusal, redisFault } from './faults.ts';
import { checkServer } from './server-checks.ts';

/**
 * The connection to one server. Losses are mended by the client; calls made meanwhile fail at once, none is kept or repeated here. Who answers a
 * new connection may be another server: none is used before it is checked.
 */
export interface RedisNode {
  /** host:port, for messages. */
  readonly address: string;
  readonly host: string;
  readonly isReady: boolean;
  /** Waits for a connection. @throws WeirError STORE when there is none in time, or the server refuses or is unfit. */
  ready(): Promise<void>;
  /** Sends the calls in one write and waits for all answers: one round trip. Errors come as values, one per call. */
  exchange(calls: readonly Buffer[]): Promise<Reply[]>;
  /** One command. @throws WeirError STORE */
  ask(doing: string, ...words: readonly string[]): Promise<unknown>;
  loadScripts(scripts: readonly Script[]): Promise<void>;
  /** What to say while there is no connection. */
  lost(doing?: string): WeirError;
  /** The WeirError for an error of a call. */
  fault(error: unknown, doing: string): WeirError;
  close(): void;
}

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly db?: number;
}

const longestRetryMs = 2_000;
/** An unfit server is connected to and checked again after so long. */
const recheckMs = 1_000;

/**
 * @param onChange told when the connection is there, and when it is lost.
 * @throws WeirError CONFIG when a TLS file cannot be read.
 */
export function openNode(
  config: RedisStoreConfig,
  at: RedisAddress,
  name: string,
  onChange: (isReady: boolean) => void,
): RedisNode {
  const { connect_timeout_ms, command_timeout_ms } = config;
  const redis = new Redis(clientOptions(config, at, name));
  const address = `${at.host}:${at.port}`;
  let lastError: unknown;
  let isUp = false;
  /** Counts what makes a check that is under way say nothing of the present connection. */
  let connections = 0;
  let recheck: NodeJS.Timeout | undefined;
  /** Ends the waits for a connection. */
  const waits = new Set<(error?: WeirError) => void>();
  const refuse = (error: WeirError) => {
    for (const end of waits) end(error);
  };
  redis.on('error', (error: unknown) => {
    lastError = error;
    if (isRefusal(error)) refuse(redisFault(error, 'connecting', address));
  });
  redis.on('ready', () => void admit());
  redis.on('close', () => {
    connections++;
    if (!isUp) return;
    isUp = false;
    onChange(false);
  });

  const lost = (doing?: string) => lostConnection(lastError, doing, address, command_timeout_ms);
  const fault = (error: unknown, doing: string): WeirError => {
    // Everything but an answer of the server means that the connection is gone, also where the client has not noticed yet.
    if (error instanceof WeirError || isReply(error)) return redisFault(error, doing, address);
    return lost(doing);
  };

  const ask = (doing: string, ...words: readonly string[]) =>
    redis.call(words[0], ...words.slice(1)).catch((error: unknown) => Promise.reject(fault(error, doing)));
  const isReady = () => isUp && redis.status === 'ready';

  async function admit(): Promise<void> {
    const connection = ++connections;
    const unfit = await ask('reading INFO', 'INFO')
      .then((info): undefined => checkServer(address, String(info), config.cluster !== undefined) as undefined)
      .catch((error: WeirError) => error);
    if (connection !== connections || redis.status !== 'ready') return;
    isUp = unfit === undefined;
    lastError = unfit;
    for (const end of waits) end(unfit);
    if (!isUp) recheck = setTimeout(() => redis.disconnect(true), recheckMs).unref();
    onChange(isUp);
  }

  return {
    address,
    host: at.host,
    get isReady() {
      return isReady();
    },
    async ready() {
      const timer = new AbortController();
      let end = (_?: WeirError) => {};
      try {
        await Promise.race([
          new Promise<void>((resolve, reject) => {
            end = (error) => (error === undefined ? resolve() : reject(error));
            waits.add(end);
            if (isReady()) resolve();
            if (redis.status === 'wait') redis.connect().catch(() => undefined);
          }),
          delay(connect_timeout_ms, undefined, { signal: timer.signal }).then(() => {
            throw unreachable(redis, lastError, connect_timeout_ms, address);
          }),
        ]);
      } finally {
        waits.delete(end);
        timer.abort();
      }
    },
    exchange(calls) {
      if (!isReady()) return Promise.resolve(calls.map(() => lost()));
      const { stream } = redis;
      stream.cork();
      const answers = calls.map((bytes) => {
        const command = new Command('evalsha');
        command.toWritable = () => bytes;
        return (redis.sendCommand(command) as Promise<Reply>).catch((error: Error) => error);
      });
      stream.uncork();
      return Promise.all(answers);
    },
    ask,
    async loadScripts(scripts) {
      for (const { text } of scripts) await redis.script('LOAD', text);
    },
    lost,
    fault,
    close() {
      isUp = false;
      clearTimeout(recheck);
      refuse(lost('connecting'));
      redis.disconnect();
    },
  };
}

/** Where the url leads. */
export function addressOf(text: string): RedisAddress {
  const url = new URL(text);
  return {
    // The brackets of an IPv6 address belong to the url.
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 6379),
    db: Number(url.pathname.slice(1) || 0),
  };
}

function clientOptions(config: RedisStoreConfig, { host, port, db = 0 }: RedisAddress, name: string): RedisOptions {
  const url = config.url === undefined ? undefined : new URL(config.url);
  const tls = url?.protocol === 'rediss:' ? config.tls || true : config.tls || false;
  return {
    host,
    port,
    db,
    username: config.username ?? (decoded(url?.username ?? '') || undefined),
    password: config.password ?? (decoded(url?.password ?? '') || undefined),
    tls: tls === false ? undefined : tlsOptions(tls, 'state.redis.tls'),
    connectionName: name,
    // RESP2 needs no HELLO, which an access control list may forbid.
    protocol: 2,
    disableClientInfo: true,
    lazyConnect: true,
    connectTimeout: Math.min(config.connect_timeout_ms, config.command_timeout_ms),
    socketTimeout: config.command_timeout_ms,
    maxLoadingRetryTime: 500,
    disconnectTimeout: 100,
    // Nothing is queued while there is no connection, and nothing is repeated behind the caller's back.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(50 * times, longestRetryMs),
    // After a fail-over the name may lead to the new primary.
    reconnectOnError: (error) => error.message.includes('READONLY'),
  };
}

/** Percent signs that encode nothing stand for themselves. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function unreachable(redis: Redis, error: unknown, timeoutMs: number, address: string): WeirError {
  const tried = `(tried for ${timeoutMs / 1000} s)`;
  // The client closes a connection on which nothing is said for `command_timeout_ms`, and makes another.
  if (redis.status === 'connect' || isSilence(error)) {
    return new WeirError(
      'STORE',
      `Redis at ${address} accepts connections but is not ready ${tried}: it hangs or is loading its data, or the port speaks something else or TLS`,
    );
  }
  const why = error === undefined ? 'no answer' : describeError(error);
  return new WeirError(
    'STORE',
    `Redis at ${address} cannot be reached ${tried}: check state.redis.url (or cluster) and that the server runs; ${why}`,
  );
}

function lostConnection(error: unknown, doing: string | undefined, address: string, timeoutMs: number): WeirError {
  // The server is there, but unfit.
  if (error instanceof WeirError) return error;
  const message = error === undefined ? 'the connection was closed' : describeError(error);
  const why = isSilence(error) ? `no answer for ${timeoutMs / 1000} s` : message;
  return new WeirError(
    'STORE',
    `Redis at ${address} is out of reach${doing === undefined ? '' : ` while ${doing}`} (${why}); the connection is tried again and the call repeated, nothing is lost`,
  );
}

function isSilence(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Socket timeout');
}

function isReply(error: unknown): boolean {
  return (error as Error | undefined)?.name === 'ReplyError';
}
