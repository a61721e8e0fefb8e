import { oldestOf, type TransactionBatch } from '../features/columns.ts';
import { parseDuration } from '../features/duration.ts';
import type { FeatureEngine } from '../features/engine.ts';
import { type Flusher, renewMs } from '../features/flusher.ts';
import { frontierOf } from '../features/frontier.ts';
import { createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import type { AlignmentConfig } from './alignment-config.ts';
import { type Limits, limitsOf, type Other, rowsInTurn, weigh } from './alignment-rule.ts';
import { type Ownership, partitionName, type RawBatch } from './ports.ts';

/** Keeps one partition in step of event time with the others of its stream. */
export interface Alignment {
  /** The events are about to be applied again, and all before them are; that waits for nobody. */
  replaying(batch: TransactionBatch): void;
  /**
   * Waits until the batch, all before which is applied and published, is not too far ahead of the other partitions.
   * @returns undefined when the partition was left meanwhile.
   * @throws WeirError STORE when it cannot be read how far others are, or what is applied cannot be stored.
   */
  turn(batch: TransactionBatch, raw: RawBatch): Promise<Turn | undefined>;
  /** All of the log is applied and published. */
  ended(): void;
  /** All that can be read is applied and published, and the log has more, as behind a transaction that is open. Told again and again while that lasts. */
  blocked(): void;
}

export interface Turn {
  /** So many of the batch's rows may go on now: at least one, but for a batch without rows. */
  readonly rows: number;
  /** What other partitions have before this event time is visible. */
  readonly seenBefore: number;
  /** Whether a partition was lost since: what it had in memory alone may not be in what was loaded meanwhile, so that a new turn is due. */
  hasLapsed(): boolean;
}

export interface AlignmentParts {
  readonly config: AlignmentConfig;
  readonly allowedLatenessMs: number;
  readonly flushIntervalMs: number;
  readonly ownership: Ownership;
  readonly engine: Pick<FeatureEngine, 'frontiers' | 'asksOfOthers'>;
  readonly flusher: Pick<Flusher, 'tell' | 'demand'>;
  readonly clock: Clock;
  readonly observer: AlignmentObserver;
  /** Aborts when the partition is left. */
  readonly leaving: AbortSignal;
}

export interface AlignmentObserver {
  /** How far the partition is ahead of the slowest that it waits for. Seconds of event time. */
  skewed(seconds: number): void;
  /** It has waited so long for others. */
  held(seconds: number): void;
}

/** How often the store is asked how far others are: while a backlog is worked off, and at the live edge. */
const backlogMs = 50;
const liveMs = 1_000;
/** The same while waiting, growing while nobody moves. */
const firstPauseMs = 10;
const longestPauseMs = 200;

/** For those that nobody waits for. */
export const unaligned: Alignment = {
  replaying() {},
  turn: async ({ count }) => ({ rows: count, seenBefore: Number.POSITIVE_INFINITY, hasLapsed: () => false }),
  ended() {},
  blocked() {},
};

/** How much may be missing of others in a value that is not stale. Milliseconds of event time. */
export function toleranceMs(config: AlignmentConfig): number {
  return config === false ? Number.POSITIVE_INFINITY : parseDuration(config.within)!;
}

export function createAlignment(parts: AlignmentParts): Alignment {
  const { config, ownership, engine, flusher, clock, observer, leaving } = parts;
  const { frontiers } = engine;
  const name = partitionName(ownership);
  if (config === false) return unaligned;
  const others = otherPartitions(ownership);
  const withinMs = toleranceMs(config);
  const patienceMs = config.patience_ms;
  const idleGraceMs = 3 * Math.max(renewMs, parts.flushIntervalMs);
  /** Where the partition stands, and where it stood a batch before. */
  let time = Number.NEGATIVE_INFINITY;
  let timeBefore = Number.POSITIVE_INFINITY;
  let isLive = false;
  let blockedAt = Number.POSITIVE_INFINITY;

  const isAlone = () => others().every((other) => frontiers.owns(other));

  function lookAt(other: string): Other {
    const unmovedMs = clock.monotonic() - frontiers.movedAt(other);
    return { ...(frontiers.of(other) ?? unknown), isHere: frontiers.owns(other), unmovedMs };
  }

  function reach({ times, count }: TransactionBatch): void {
    blockedAt = Number.POSITIVE_INFINITY;
    if (time !== Number.NEGATIVE_INFINITY) timeBefore = time;
    time = frontierOf(times, count, time);
    frontiers.say(name, time, 'reading');
  }

  /** Asks the store now and then, and waits for the answer only the first time. */
  async function keepInformed(): Promise<void> {
    if (isAlone()) return;
    const ageMs = frontiers.ageMs();
    if (ageMs === Number.POSITIVE_INFINITY) await frontiers.learn();
    // A store that does not answer fails the batch's own load.
    else if (ageMs >= (isLive ? liveMs : backlogMs)) frontiers.learn().catch(() => undefined);
  }

  /** Others elsewhere wait, or soon will, for what is not stored yet: it is not to wait for the next flush. */
  function isAwaited({ withinMs, aheadMs }: Limits): boolean {
    const stored = frontiers.taken(name);
    if (stored?.time === time && stored.state !== 'at-end') return false;
    const soon = (stored?.time ?? Number.NEGATIVE_INFINITY) + Math.min(withinMs, aheadMs) / 2;
    return others().some((other) => {
      const frontier = frontiers.of(other);
      return frontier !== undefined && !frontiers.owns(other) && frontier.state !== 'at-end' && frontier.time >= soon;
    });
  }

  /** Until somebody here gets on, or it is time to ask how others do. */
  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancelTimer();
        stopListening();
        leaving.removeEventListener('abort', done);
        resolve();
      };
      const cancelTimer = clock.after(ms, done);
      const stopListening = frontiers.listen(done);
      leaving.addEventListener('abort', done);
      if (leaving.aborted) done();
    });
  }

  /** Waits until something may have changed. @throws WeirError STORE as turn() does. */
  async function hold(pauseMs: number): Promise<void> {
    const heldAt = clock.monotonic();
    frontiers.say(name, time, 'waiting');
    const stored = frontiers.taken(name);
    if (!isAlone() && (stored?.time !== time || stored.state !== 'waiting')) flusher.tell(true);
    await pause(pauseMs);
    flusher.demand();
    if (!leaving.aborted && !isAlone() && frontiers.ageMs() >= pauseMs) await frontiers.learn();
    observer.held((clock.monotonic() - heldAt) / 1000);
  }

  return {
    replaying: reach,
    async turn(batch, raw) {
      const wasAtEnd = frontiers.taken(name)?.state === 'at-end';
      reach(batch);
      const limits = limitsOf(engine.asksOfOthers(oldestOf(batch)), withinMs, parts.allowedLatenessMs);
      const asksNothing = Math.min(limits.withinMs, limits.aheadMs) === Number.POSITIVE_INFINITY;
      if (asksNothing || batch.count === 0 || others().length === 0) return unaligned.turn(batch, raw);
      isLive = Math.abs(clock.now() - time) <= withinMs;
      await keepInformed();
      if (isAwaited(limits) || (wasAtEnd && !isLive && !isAlone())) flusher.tell(true);
      const recordedAt = newestOf(raw.timestamps) ?? clock.now();
      let slowestBefore = Number.NaN;
      const backoff = createBackoff(firstPauseMs, longestPauseMs);
      for (;;) {
        const { slowest, seenBefore } = weigh(others().map(lookAt), { recordedAt, idleGraceMs, patienceMs });
        if (slowest !== Number.NEGATIVE_INFINITY) observer.skewed(Math.max(0, time - slowest) / 1000);
        const begins = Math.min(time, timeBefore);
        const rows = isLive ? batch.count : rowsInTurn(batch.times, batch.count, begins, slowest, limits);
        if (rows > 0) {
          frontiers.say(name, time, 'reading');
          const losses = frontiers.losses();
          return { rows, seenBefore, hasLapsed: () => frontiers.losses() !== losses };
        }
        if (slowest !== slowestBefore) backoff.reset();
        slowestBefore = slowest;
        await hold(backoff.next());
        if (leaving.aborted) return undefined;
      }
    },
    ended() {
      blockedAt = Number.POSITIVE_INFINITY;
      frontiers.say(name, time, 'at-end');
      if (frontiers.taken(name)?.state !== 'at-end') flusher.tell(!isLive && !isAlone());
    },
    blocked() {
      blockedAt = Math.min(blockedAt, clock.monotonic());
      // What came in so short a time may be missed anyway, and most transactions are shorter.
      if (clock.monotonic() - blockedAt < withinMs) return;
      frontiers.say(name, time, 'reading');
      if (frontiers.taken(name)?.state === 'at-end') flusher.tell(!isLive && !isAlone());
    },
  };
}

const unknown = { time: Number.NEGATIVE_INFINITY, state: 'reading', saidAt: 0 } as const;

/** Names of the stream's other partitions, of which there may be more by and by. */
function otherPartitions(ownership: Ownership): () => readonly string[] {
  const { stream, partition } = ownership;
  const namesOf = (all: readonly number[]) =>
    all.filter((index) => index !== partition).map((index) => partitionName({ stream, partition: index }));
  let counted = 0;
  let named: readonly number[] | undefined;
  let names: string[] = [];
  return () => {
    const readable = ownership.readable?.();
    if (readable !== undefined) {
      // Asked for several times with every batch; the numbers of hundreds of shards seldom change.
      if (readable !== named) names = namesOf(readable);
      named = readable;
      return names;
    }
    if (counted !== ownership.partitions) {
      counted = ownership.partitions;
      names = namesOf(Array.from({ length: counted }, (_, index) => index));
    }
    return names;
  };
}

/** undefined where the source has no times. */
function newestOf(timestamps: readonly number[]): number | undefined {
  let newest = Number.NEGATIVE_INFINITY;
  for (const timestamp of timestamps) if (timestamp > newest) newest = timestamp;
  return newest === Number.NEGATIVE_INFINITY ? undefined : newest;
}
