import {
  InvalidArgumentException,
  type KinesisClient,
  ResourceInUseException,
  ResourceNotFoundException,
  type StartingPosition,
  SubscribeToShardCommand,
  type SubscribeToShardEventStream,
} from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Random } from '../../runtime/random.ts';
import type { FanOutConsumer } from './fan-out-consumer.ts';
import { isThrottled } from './faults.ts';
import { checkOrigin } from './origin.ts';
import { faultOf } from './polling.ts';
import { watchRivals } from './rivals.ts';
import type { LogStart, ShardLog, ShardPage, ShardPages } from './shard-log.ts';
import { pageOf } from './stream-records.ts';
import { followTrail } from './trail.ts';

/** Opens a subscription; it ends by itself after five minutes. */
export type Subscribe = (
  start: StartingPosition,
  signal: AbortSignal,
) => Promise<AsyncIterable<SubscribeToShardEventStream>>;

export interface FanOutOptions {
  /** Names the shard in errors. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when the shard is not this process's any more. */
  readonly signal: AbortSignal;
  readonly onThrottled: () => void;
  /** How long two may subscribe while the lease changes hands. */
  readonly handOverMs: number;
  /** Told that somebody else took or has the subscription, and whether that has gone on for longer than a lease takes to change hands. */
  readonly onRival: (isLasting: boolean) => void;
}

const firstWaitMs = 500;
/** A subscription can be had again five seconds after the last one was opened. */
const longestWaitMs = 5_000;
/** By itself a subscription ends after five minutes. */
const leastLifeMs = 60_000;
/** So many vain attempts in a row are a fault. */
const mostAttempts = 12;
/** Events come every few seconds, empty ones where there is nothing new. The Kinesis Client Library waits as long. */
const longestSilenceMs = 60_000;
/** The same of silences: what takes a minute each is told sooner. */
const mostSilences = 1;

/** A subscription has ended before it gave anything new: opened anew at once, it would be so again and again. */
class EndedAtOnce extends Error {
  override readonly message = 'the subscription ended before its first event';
}

/** Nothing comes any more, and nobody says that the connection is gone: the other end, or what lies between, went without a word. */
class Silence extends Error {
  override readonly message = `the subscription was silent for ${longestSilenceMs / 1000} s`;
}

export function subscribeTo(client: KinesisClient, consumer: FanOutConsumer, ShardId: string): Subscribe {
  async function ask(StartingPosition: StartingPosition, abortSignal: AbortSignal, isAgain: boolean) {
    const ConsumerARN = await consumer.arn();
    try {
      const command = new SubscribeToShardCommand({ ConsumerARN, ShardId, StartingPosition });
      return (await client.send(command, { abortSignal })).EventStream!;
    } catch (error) {
      // It may be the consumer that is gone, or the shard.
      if (isAgain || !(error instanceof ResourceNotFoundException)) throw error;
      consumer.forget(ConsumerARN);
      return ask(StartingPosition, abortSignal, true);
    }
  }
  return (start, signal) => ask(start, signal, false);
}

/**
 * A shard read by enhanced fan-out: Kinesis pushes what comes, without a share of the shard's polling limits. A subscription is renewed when it
 * ends or fails, behind the last event that was given.
 */
export function fanOutShard(subscribe: Subscribe, options: FanOutOptions): ShardLog {
  const { name, clock, random } = options;
  const rivals = watchRivals(options.handOverMs, clock);
  /** When this process last had a subscription. */
  let subscribedAt = Number.NEGATIVE_INFINITY;

  function open(from: LogStart): ShardPages {
    const closing = new AbortController();
    const signal = AbortSignal.any([options.signal, closing.signal]);
    let start = startOf(from);
    let events: AsyncIterator<SubscribeToShardEventStream> | undefined;
    /** Aborts when the subscription is not waited for any more. */
    let ended = signal;
    let endNow = (_: Silence) => {};
    const origin = checkOrigin(name);
    const trail = followTrail(clock);
    let openedAt = Number.NEGATIVE_INFINITY;
    let isOver = false;
    let hasGiven = false;
    let failures = 0;

    /** The next event, undefined where a subscription has ended. */
    async function event(): Promise<SubscribeToShardEventStream | undefined> {
      if (events === undefined) {
        hasGiven = false;
        const doubted = trail.doubted(true);
        if (doubted !== undefined) start = beginAt(doubted);
        openedAt = clock.now();
        const ending = new AbortController();
        endNow = (reason) => ending.abort(reason);
        ended = AbortSignal.any([signal, ending.signal]);
        events = (await whileHeard(subscribe(start, ended)))[Symbol.asyncIterator]();
        subscribedAt = clock.monotonic();
      }
      const { done, value } = await whileHeard(events.next());
      if (done && !hasGiven) throw new EndedAtOnce();
      if (done && clock.monotonic() - subscribedAt < leastLifeMs) options.onRival(rivals.met());
      return done ? undefined : value;
    }

    async function whileHeard<T>(work: Promise<T>): Promise<T> {
      const cancel = clock.after(longestSilenceMs, () => endNow(new Silence()));
      try {
        return await untilAborted(work, ended);
      } finally {
        cancel();
      }
    }

    function pageFrom(found: SubscribeToShardEventStream): ShardPage {
      const { SubscribeToShardEvent: given, ...faults } = found;
      const fault = Object.values(faults).find((one) => one instanceof Error);
      if (fault !== undefined) throw fault;
      const next = given?.ContinuationSequenceNumber;
      if (next !== undefined) start = { Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: next };
      const read = pageOf(given?.Records ?? [], given?.MillisBehindLatest, next, given?.ChildShards);
      origin.read(read);
      isOver = read.children !== undefined;
      // The event may have waited for whoever takes it, but was made in this subscription.
      const page = trail.follow(read, openedAt);
      // A record that was only to be found again is nothing new: the next subscription begins at it as well.
      if (page.records.length > 0 || read.records.length === 0) {
        hasGiven = true;
        failures = 0;
      }
      return page;
    }

    /** Waits before the subscription is opened anew. @throws WeirError when that would be no use. */
    async function recover(error: unknown): Promise<void> {
      const isAnothers = events !== undefined || clock.monotonic() - subscribedAt > longestWaitMs;
      events = undefined;
      if (error instanceof ResourceInUseException && isAnothers) options.onRival(rivals.met());
      if (error instanceof InvalidArgumentException && start.Type === 'AT_SEQUENCE_NUMBER') {
        origin.refused(start.SequenceNumber!);
        start = { Type: 'TRIM_HORIZON' };
        return;
      }
      if (isThrottled(error)) options.onThrottled();
      const isPassing = isThrottled(error) || error instanceof ResourceInUseException || isServerFault(error);
      const most = error instanceof Silence ? mostSilences : mostAttempts;
      if (!isPassing || ++failures > most) throw faultOf(error, name);
      const waitMs = Math.min(firstWaitMs * 2 ** (failures - 1), longestWaitMs);
      await clock.sleep(waitMs * (0.75 + random.next() / 2), signal);
    }

    async function next(): Promise<ShardPage> {
      for (;;) {
        if (isOver) await aborted(signal);
        if (signal.aborted) throw new WeirError('FENCED', `${name} is not read by this process any more`);
        try {
          const found = await event();
          if (found !== undefined) return pageFrom(found);
          events = undefined;
        } catch (error) {
          if (!signal.aborted) await recover(error);
        }
      }
    }

    return { next, close: () => closing.abort() };
  }

  return { open };
}

/** The connection broke, the subscription did, or Kinesis failed. */
function isServerFault(error: unknown): boolean {
  if (error instanceof EndedAtOnce || error instanceof Silence) return true;
  // It has a code as well, and says by itself whether it passes.
  if (error instanceof WeirError) return false;
  const { $fault, $metadata, code, name } = error as Error & {
    readonly $fault?: string;
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly code?: string;
  };
  return (
    $fault === 'server' || ($metadata?.httpStatusCode ?? 0) >= 500 || code !== undefined || name === 'TimeoutError'
  );
}

function startOf(from: LogStart): StartingPosition {
  if (from.kind === 'beginning') return { Type: 'TRIM_HORIZON' };
  if (from.kind === 'since') return { Type: 'AT_TIMESTAMP', Timestamp: new Date(from.time) };
  return beginAt(from.sequence);
}

function beginAt(sequence: string): StartingPosition {
  return { Type: 'AT_SEQUENCE_NUMBER', SequenceNumber: sequence };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
    // Nobody waits for it any more.
    work.catch(() => undefined);
  }
}
