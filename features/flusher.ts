import { createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import type { FeatureEngine } from './engine.ts';
import { LostStateError, type StateStore } from './store.ts';

export interface FlusherOptions {
  readonly engine: FeatureEngine;
  readonly store: StateStore;
  readonly partition: string;
  readonly clock: Clock;
  /** Least time between the beginnings of two flushes; what changes meanwhile is written once. Milliseconds. */
  readonly intervalMs: number;
  /** Makes sure that what is published stays so, before state that follows from it is stored; absent: it does anyway. */
  readonly beforeFlush?: () => Promise<void>;
  /** The store is away: from now on the partition goes on without it. Absent: it waits for the store. */
  readonly onDegraded?: (error: WeirError) => void;
  readonly onFlushed: (fence: number, seconds: number) => void;
  /** A flush failed: it will be repeated, or the next call of published() throws why it cannot be. */
  readonly onTrouble: (error: unknown) => void;
  /** Waits before a failed flush is repeated; gives false when it is not to be repeated: the partition is being left. */
  readonly wait: (ms: number) => Promise<boolean>;
}

/**
 * Writes one partition's changed sub-states behind the pipeline's back: never anything that is not published yet, and one flush
 * at a time.
 */
export interface Flusher {
  /**
   * What is applied from now on may rest on less than the store has: it is never to be stored. Once the store takes writes again the partition
   * has to begin again from its fence, which is when demand() throws.
   */
  readonly isDegraded: boolean;
  /** @returns whether the partition goes on without the store; false where it is to wait for it, or for another fault. */
  degrade(error: unknown): boolean;
  /** Events are about to be applied that are not published yet: no flush may begin. */
  applying(): void;
  /**
   * All that is applied is published through the position. Waits only while the store refuses earlier changes, or is so slow to take them that
   * much has changed meanwhile.
   * @throws WeirError STORE when the store has lost what it had, and whatever beforeFlush() threw: repeating the flush cannot help,
   * the partition has to begin again from its fence, with another output.
   */
  published(position: number): Promise<void>;
  /** @throws WeirError once a flush has failed that is not to be repeated: nothing is to be applied then. */
  demand(): void;
  /** What the engine says of the partition besides changes is news: stored with the next flush, which begins at once if it is urgent. */
  tell(isUrgent: boolean): void;
  /** Writes what is left, with one try: what the store does not take now, the next owner re-applies from the log. */
  drain(): Promise<void>;
  /** Gives up what is not written, e.g. because the partition belongs to somebody else now. */
  abandon(): void;
}

const firstRetryMs = 50;
const longestRetryMs = 5000;
/** A fence without news is written again after so long. */
export const renewMs = 10_000;

export function createFlusher(options: FlusherOptions): Flusher {
  const { engine, store, partition, clock, intervalMs } = options;
  let position = 0;
  let fence = Number.NaN;
  let isPublished = true;
  let isAbandoned = false;
  let isDraining = false;
  let hasTrouble = false;
  let hasNews = false;
  let isUrgent = false;
  let fault: { readonly error: unknown } | undefined;
  let isDegraded = false;
  let startedAt = Number.NEGATIVE_INFINITY;
  let flushing: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  let timerDue = 0;

  /** Everything changed so far, until the store has it; a repeated write of the same changes is harmless. */
  async function flush(): Promise<void> {
    startedAt = clock.monotonic();
    hasNews = false;
    isUrgent = false;
    const target = position;
    const { changes, settle } = engine.takeChanges(partition, target);
    try {
      const backoff = createBackoff(firstRetryMs, longestRetryMs);
      while (!isAbandoned) {
        try {
          if (options.beforeFlush) await options.beforeFlush();
          await store.flush(partition, changes, target);
          hasTrouble = false;
          fence = target;
          options.onFlushed(fence, (clock.monotonic() - startedAt) / 1000);
          return;
        } catch (error) {
          if (degrade(error)) return;
          hasTrouble = true;
          options.onTrouble(error);
          if (!canRepeat(error)) fault = { error };
          // What is given up must stay the last word: a later flush would move the fence over it.
          if (fault !== undefined || isDraining || !(await options.wait(backoff.next()))) isAbandoned = true;
        }
      }
    } finally {
      settle();
    }
  }

  function degrade(error: unknown): boolean {
    if (options.onDegraded === undefined || !canRepeat(error)) return false;
    if (!isDegraded) {
      isDegraded = true;
      stopTimer();
      options.onDegraded(error);
      void awaitStore();
    }
    return true;
  }

  /** Writes the fence that is stored already, again and again: that the store can be read is not enough. */
  async function awaitStore(): Promise<void> {
    const backoff = createBackoff(firstRetryMs, longestRetryMs);
    while (await options.wait(backoff.next())) {
      if (isAbandoned) return;
      const failure = await store.flush(partition, [], Number.isNaN(fence) ? 0 : fence).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure !== undefined && canRepeat(failure)) continue;
      fault = { error: failure ?? storeIsBack(partition) };
      return;
    }
  }

  function begin(): Promise<void> {
    stopTimer();
    flushing ??= flush().finally(() => {
      flushing = undefined;
      if (isUrgent && isPublished && !isAbandoned && !isDegraded) void begin();
      else schedule();
    });
    return flushing;
  }

  /**
   * So that the last changes of a stream that falls silent are written too; and, once they are, so that its fence does not expire and
   * a loss of the store's data is noticed before the next event.
   */
  function schedule(): void {
    if (isAbandoned || isDegraded) return;
    const due = startedAt + (fence === position && !hasNews ? Math.max(renewMs, intervalMs) : intervalMs);
    if (cancelTimer !== undefined && timerDue <= due) return;
    stopTimer();
    timerDue = due;
    cancelTimer = clock.after(Math.max(0, due - clock.monotonic()), () => {
      cancelTimer = undefined;
      if (isPublished && !isAbandoned) void begin();
    });
  }

  function stopTimer(): void {
    cancelTimer?.();
    cancelTimer = undefined;
  }

  return {
    get isDegraded() {
      return isDegraded;
    },
    degrade,
    applying() {
      isPublished = false;
    },
    async published(through) {
      position = through;
      isPublished = true;
      if (flushing && (hasTrouble || engine.hasManyChanges(partition))) await flushing;
      if (fault !== undefined) throw fault.error;
      if (isDegraded) engine.dropChanges(partition);
      if (isDegraded || flushing) return;
      if (isUrgent || clock.monotonic() - startedAt >= intervalMs) void begin();
      else schedule();
    },
    demand() {
      if (fault !== undefined) throw fault.error;
    },
    tell(urgently) {
      hasNews = true;
      isUrgent ||= urgently;
      if (flushing || !isPublished || isAbandoned || isDegraded) return;
      if (isUrgent) void begin();
      else schedule();
    },
    async drain() {
      isDraining = true;
      while (flushing) await flushing;
      if ((fence !== position || hasNews) && !isAbandoned && !isDegraded && !hasTrouble) await begin();
      isAbandoned = true;
      stopTimer();
    },
    abandon() {
      isAbandoned = true;
      stopTimer();
    },
  };
}

/** The store is away or refuses; it will take the same changes later. An output that could not be made safe stays unusable. */
function canRepeat(error: unknown): error is WeirError {
  return error instanceof WeirError && error.code === 'STORE' && !(error.cause instanceof LostStateError);
}

function storeIsBack(partition: string): WeirError {
  return new WeirError(
    'STORE',
    `the store is back: partition ${partition} went on without it, and its state is made anew from the log`,
  );
}
