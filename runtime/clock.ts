import { setTimeout as delay } from 'node:timers/promises';

/** Time as an argument: everything that needs "now", or waits, takes a Clock. */
export interface Clock {
  /** Wall-clock time, milliseconds since the Unix epoch. */
  now(): number;
  /** Monotonic time in milliseconds, for measuring durations. */
  monotonic(): number;
  /** Waits so many milliseconds. Gives false when the signal aborted first; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<boolean>;
  /** Calls the work once, after so many milliseconds. Calling the answer prevents it. */
  after(ms: number, work: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => delay(ms, true, { signal }).catch(() => false),
  after(ms, work) {
    const timer = setTimeout(work, ms);
    return () => clearTimeout(timer);
  },
};
