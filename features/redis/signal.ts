import { randomUUID } from 'node:crypto';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { encodeCommand, type Reply } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis } from './connection.ts';
import { slotOf } from './slots.ts';

/**
 * Words among processes that share a Redis: to all others, that something is worth a look, and to one of them. Whoever misses a word has to come
 * upon what it says otherwise, so nothing that happens to Redis is a fault here.
 */
export interface Signal {
  /** The others hear of it within a second. Resolves once it is given, or cannot be. */
  give(): Promise<void>;
  /** Calls back whenever another process has given it. */
  listen(onGiven: () => void): void;
  /**
   * Tells the process of that name something about a thing, in place of what it was told of that before and has not heard. It hears it within a
   * second; after a minute it is forgotten. Resolves once it is told, or cannot be.
   */
  tell(name: string, about: string, word: string): Promise<void>;
  /** Calls back with each word for the process of that name. */
  hear(name: string, onTold: (about: string, word: string) => void): void;
  close(): Promise<void>;
}

export interface SignalOptions {
  readonly job: string;
  /** What it is about: processes that name the same hear each other. */
  readonly subject: string;
  readonly clock: Clock;
}

/** One GET each time, and for who hears under a name one HGETALL beside it. */
const pollMs = 500;
const longestPollMs = 8_000;
/** Far longer than between two looks at it. */
const keptSeconds = 60;

/**
 * What is told to one process is a hash, whose fields are what it is about. The signal to all is a key that has another value each time it is given. Not by publish and subscribe, which would need other rights, and lose what is
 * given while a connection is made anew.
 * @throws WeirError STORE when Redis cannot be reached or refuses.
 */
export async function createRedisSignal(
  config: RedisStoreConfig,
  { job, subject, clock }: SignalOptions,
): Promise<Signal> {
  const prefix = `${config.key_prefix}:{SIGNAL:${subject}}`;
  const key = `${prefix}:given`;
  const slots = [slotOf(`SIGNAL:${subject}`)];
  const link = await connectRedis(config, { name: `weir-${job}-signal`, slots, clock });
  const closing = new AbortController();
  const listeners: (() => void)[] = [];

  const send = (...commands: readonly (readonly string[])[]): Promise<Reply[]> =>
    link.exchange(commands.map((words) => ({ group: 0, bytes: encodeCommand(...words) })));
  const toldTo = (name: string) => `${prefix}:to:${name}`;

  let [seen] = await send(['GET', key]);
  let hearer: { readonly key: string; readonly onTold: (about: string, word: string) => void } | undefined;
  let giving: Promise<unknown> = Promise.resolve();
  const listening = keepLooking();

  async function keepLooking(): Promise<void> {
    const backoff = createBackoff(pollMs, longestPollMs);
    while (await clock.sleep(backoff.next(), closing.signal)) {
      const [found, told] = await send(['GET', key], ...(hearer === undefined ? [] : [['HGETALL', hearer.key]]));
      if (found instanceof Error) continue;
      backoff.reset();
      if (Array.isArray(told) && told.length > 0) await hearAll(told.map(String));
      // It expires when it has long been heard.
      if (found === null || String(found) === String(seen)) continue;
      seen = found;
      for (const onGiven of listeners) onGiven();
    }
  }

  /** @param told fields and values by turns. */
  async function hearAll(told: readonly string[]): Promise<void> {
    const { key: own, onTold } = hearer!;
    const [forgotten] = await send(['HDEL', own, ...told.filter((_, index) => index % 2 === 0)]);
    // Nothing is heard twice.
    if (forgotten instanceof Error) return;
    for (let at = 0; at < told.length; at += 2) onTold(told[at], told[at + 1]);
  }

  async function sendBeforeClose(...commands: readonly (readonly string[])[]): Promise<void> {
    const sent = send(...commands);
    giving = Promise.all([giving, sent]);
    await sent;
  }

  return {
    async give() {
      const value = randomUUID();
      seen = Buffer.from(value);
      await sendBeforeClose(['SET', key, value, 'EX', String(keptSeconds)]);
    },
    listen: (onGiven) => void listeners.push(onGiven),
    tell: (name, about, word) =>
      sendBeforeClose(['HSET', toldTo(name), about, word], ['EXPIRE', toldTo(name), String(keptSeconds)]),
    hear(name, onTold) {
      hearer = { key: toldTo(name), onTold };
    },
    async close() {
      closing.abort();
      await Promise.all([giving, listening]);
      link.close();
    },
  };
}
