/** What goes through a shard, as whoever reads it counts. Pure: the time comes in, milliseconds of a monotonic clock. */
export interface Throughput {
  /** So many bytes of records have been read. */
  read(bytes: number, now: number): void;
  /** Kilobytes a second, as the Kinesis Client Library 3.x keeps it: half of the last window, half of those before. Undefined before the first has ended. */
  kBps(now: number): number | undefined;
}

/** @param windowMs over which bytes are counted. */
export function measureThroughput(windowMs: number, startedAt: number): Throughput {
  let from = startedAt;
  let bytes = 0;
  let smoothed: number | undefined;

  function closeWindow(now: number): void {
    if (now - from < windowMs) return;
    const last = bytes / 1_024 / ((now - from) / 1_000);
    smoothed = smoothed === undefined ? last : (smoothed + last) / 2;
    from = now;
    bytes = 0;
  }

  return {
    read(count, now) {
      closeWindow(now);
      bytes += count;
    },
    kBps(now) {
      closeWindow(now);
      return smoothed;
    },
  };
}
