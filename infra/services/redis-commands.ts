import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { WeirError } from '../../runtime/errors.ts';
import type { RedisService } from './start.ts';

const POLL_MS = 20;
const DEADLINE_MS = 30_000;

/** Sends one command over a connection of its own. */
export async function ask(server: RedisService, ...words: readonly string[]): Promise<unknown> {
  const client = new Redis(server.url, { maxRetriesPerRequest: 0, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    return await client.call(words[0], ...words.slice(1));
  } finally {
    client.disconnect();
  }
}

/** A line of INFO; undefined when it has none of that name. */
export async function infoOf(server: RedisService, section: string, name: string): Promise<string | undefined> {
  const info = String(await ask(server, 'INFO', section));
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}

/** Asks again and again until it holds. @throws WeirError STORE when it never does. */
export async function waitUntil(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new WeirError('STORE', `Redis: ${what} did not come about`);
    await delay(POLL_MS);
  }
}
