/** Waits between attempts, milliseconds: each twice the one before, up to the longest. */
export interface Backoff {
  /** The wait that is due now. */
  next(): number;
  /** Something has moved: the next wait is the first again. */
  reset(): void;
}

export function createBackoff(firstMs: number, longestMs: number): Backoff {
  let waitMs = firstMs;
  return {
    next() {
      const due = waitMs;
      waitMs = Math.min(2 * waitMs, longestMs);
      return due;
    },
    reset() {
      waitMs = firstMs;
    },
  };
}
