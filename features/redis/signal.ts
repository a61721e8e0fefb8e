import { randomUUID } from 'node:crypto';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { encodeCommand, type Reply } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis } from './connection.ts';
import { slotOf } from './slots.ts';

/**
 * A word from one process to the others that share a Redis: something is worth a look. Whoever misses it has to come upon it otherwise, so
 * nothing that happens to Redis is a fault here.
 */
export interface Signal {
  /** The others hear of it within a second. Resolves once it is given, or cannot be. */
  give(): Promise<void>;
  /** Calls back whenever another process has given it. */
  listen(onGiven: () => void): void;
  close(): Promise<void>;
}

export interface SignalOptions {
  readonly job: string;
  /** What it is about: processes that name the same hear each other. */
  readonly subject: string;
  readonly clock: Clock;
}

/** One GET each time. */
const pollMs = 500;
const longestPollMs = 8_000;
/** Far longer than between two looks at it. */
const keptSeconds = 60;

/**
 * The signal is a key that has another value each time it is given. Not by publish and subscribe, which would need other rights, and lose what is
 * given while a connection is made anew.
 * @throws WeirError STORE when Redis cannot be reached or refuses.
 */
export async function createRedisSignal(
  config: RedisStoreConfig,
  { job, subject, clock }: SignalOptions,
): Promise<Signal> {
  const key = `${config.key_prefix}:{SIGNAL:${subject}}:given`;
  const slots = [slotOf(`SIGNAL:${subject}`)];
  const link = await connectRedis(config, { name: `weir-${job}-signal`, slots, clock });
  const closing = new AbortController();
  const listeners: (() => void)[] = [];

  const ask = async (...words: readonly string[]): Promise<Reply> =>
    (await link.exchange([{ group: 0, bytes: encodeCommand(...words) }]))[0];

  let seen = await ask('GET', key);
  let giving: Promise<unknown> = Promise.resolve();
  const listening = keepLooking();

  async function keepLooking(): Promise<void> {
    const backoff = createBackoff(pollMs, longestPollMs);
    while (await clock.sleep(backoff.next(), closing.signal)) {
      const found = await ask('GET', key);
      if (found instanceof Error) continue;
      backoff.reset();
      // It expires when it has long been heard.
      if (found === null || String(found) === String(seen)) continue;
      seen = found;
      for (const onGiven of listeners) onGiven();
    }
  }

  return {
    async give() {
      const value = randomUUID();
      seen = Buffer.from(value);
      const given = ask('SET', key, value, 'EX', String(keptSeconds));
      giving = Promise.all([giving, given]);
      await given;
    },
    listen: (onGiven) => void listeners.push(onGiven),
    async close() {
      closing.abort();
      await Promise.all([giving, listening]);
      link.close();
    },
  };
}
