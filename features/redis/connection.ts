import { setTimeout as delay } from 'node:timers/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { tlsOptions } from '../../runtime/config/tls.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { exchange, type GroupCall, type Reply, type Script } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { isRefusal, redisFault } from './faults.ts';

/** What the store needs of Redis. */
export interface RedisLink {
  /** host:port, for messages. */
  readonly address: string;
  /** Sends the calls in one write each to whoever has their slot groups and waits for all answers. Errors come as values, one per call. */
  exchange(calls: readonly GroupCall[]): Promise<Reply[]>;
  /** Makes the scripts known wherever calls go to. */
  loadScripts(scripts: readonly Script[]): Promise<void>;
  /** @throws WeirError STORE at once while there is no connection. */
  demand(doing: string): void;
  /** The WeirError for an error of a call. */
  fault(error: unknown, doing: string): WeirError;
  close(): void;
}

export interface RedisConnection extends RedisLink {
  readonly redis: Redis;
}

const longestRetryMs = 2_000;
const leastVersion = '6.2';

/**
 * Connects and checks that the server is fit to keep state. Later losses of the connection are mended by the client; calls made
 * meanwhile are rejected at once, none is kept or repeated here.
 * @param onTrouble told when the connection is lost, and with undefined when it is back.
 * @throws WeirError STORE when the server does not answer within `connect_timeout_ms`, refuses, is too old, or may evict;
 *   CONFIG when a TLS file cannot be read.
 */
export async function connectRedis(
  config: RedisStoreConfig,
  name: string,
  onTrouble: (error: WeirError | undefined) => void,
): Promise<RedisConnection> {
  const options = clientOptions(config, name);
  const address = `${options.host}:${options.port}`;
  const redis = new Redis(options);
  let lastError: unknown;
  let isUp = false;
  redis.on('error', (error: unknown) => {
    lastError = error;
  });
  const fault = (error: unknown, doing: string): WeirError => {
    // Everything but an answer of the server means that the connection is gone, also where the client has not noticed yet.
    if (error instanceof WeirError || isReply(error)) return redisFault(error, doing, address);
    return lostConnection(lastError, doing, address, config.command_timeout_ms);
  };
  try {
    await firstReady(redis, config.connect_timeout_ms, address, () => lastError);
    checkServer(await redis.info().catch((error: unknown) => Promise.reject(fault(error, 'reading INFO'))), address);
  } catch (error) {
    redis.disconnect();
    throw error;
  }
  isUp = true;
  redis.on('ready', () => {
    lastError = undefined;
    if (!isUp) onTrouble(undefined);
    isUp = true;
  });
  redis.on('close', () => {
    if (isUp) onTrouble(lostConnection(lastError, undefined, address, config.command_timeout_ms));
    isUp = false;
  });
  return {
    redis,
    address,
    exchange: (calls) => exchange(redis, calls),
    async loadScripts(scripts) {
      for (const { text } of scripts) await redis.script('LOAD', text);
    },
    demand(doing) {
      if (redis.status !== 'ready') throw lostConnection(lastError, doing, address, config.command_timeout_ms);
    },
    fault,
    close() {
      isUp = false;
      redis.disconnect();
    },
  };
}

function clientOptions(config: RedisStoreConfig, name: string): RedisOptions & { host: string; port: number } {
  const url = new URL(config.url);
  const tls = url.protocol === 'rediss:' ? config.tls || true : config.tls || false;
  return {
    // The brackets of an IPv6 address belong to the url.
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: Number(url.port || 6379),
    db: Number(url.pathname.slice(1) || 0),
    username: config.username ?? (decoded(url.username) || undefined),
    password: config.password ?? (decoded(url.password) || undefined),
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

async function firstReady(redis: Redis, timeoutMs: number, address: string, lastError: () => unknown): Promise<void> {
  const timer = new AbortController();
  try {
    await Promise.race([
      new Promise<void>((resolve, reject) => {
        redis.once('ready', resolve);
        redis.on('error', (error: unknown) => {
          if (isRefusal(error)) reject(redisFault(error, 'connecting', address));
        });
        redis.connect().catch(() => undefined);
      }),
      delay(timeoutMs, undefined, { signal: timer.signal }).then(() => {
        throw unreachable(redis, lastError(), timeoutMs, address);
      }),
    ]);
  } finally {
    timer.abort();
  }
}

function unreachable(redis: Redis, error: unknown, timeoutMs: number, address: string): WeirError {
  const tried = `(tried for ${timeoutMs / 1000} s)`;
  if (redis.status === 'connect') {
    return new WeirError(
      'STORE',
      `Redis at ${address} accepts connections but is not ready ${tried}: it is loading its data, or the port speaks something else or TLS`,
    );
  }
  const why = error === undefined ? 'no answer' : describeError(error);
  return new WeirError(
    'STORE',
    `Redis at ${address} cannot be reached ${tried}: check state.redis.url and that the server runs; ${why}`,
  );
}

function lostConnection(error: unknown, doing: string | undefined, address: string, timeoutMs: number): WeirError {
  const message = error === undefined ? '' : describeError(error);
  const why = message.startsWith('Socket timeout')
    ? `no answer for ${timeoutMs / 1000} s`
    : message || 'the connection was closed';
  return new WeirError(
    'STORE',
    `Redis at ${address} is out of reach${doing === undefined ? '' : ` while ${doing}`} (${why}); the connection is tried again and the call repeated, nothing is lost`,
  );
}

function isReply(error: unknown): boolean {
  return (error as Error | undefined)?.name === 'ReplyError';
}

/** @param info the answer to INFO: lines of key:value. */
function checkServer(info: string, address: string): void {
  const facts = new Map(
    info.split('\r\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
  const version = facts.get('redis_version') ?? 'unknown';
  if (!isAtLeast(version, leastVersion)) {
    throw new WeirError('STORE', `Redis at ${address} has the version ${version}; weir needs ${leastVersion} or later`);
  }
  if (facts.get('cluster_enabled') === '1') {
    throw new WeirError(
      'STORE',
      `Redis at ${address} is part of a Redis Cluster, which this version does not speak; name a single server`,
    );
  }
  const policy = facts.get('maxmemory_policy') ?? 'not told by INFO';
  if (policy !== 'noeviction') {
    throw new WeirError(
      'STORE',
      `Redis at ${address} may evict state: its maxmemory-policy is ${policy}; set it to noeviction (in redis.conf, or CONFIG SET maxmemory-policy noeviction)`,
    );
  }
}

function isAtLeast(version: string, least: string): boolean {
  const [major, minor] = version.split('.').map(Number);
  const [leastMajor, leastMinor] = least.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
