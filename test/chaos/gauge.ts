import { setTimeout as delay } from 'node:timers/promises';
import type { Member } from './fleet.ts';

/** The most that a process has held and been behind since it was watched. */
export interface Peaks {
  /** Memory outside of the heap, MiB: the bytes of records that were fetched and are not done with. */
  readonly externalMiB: number;
  readonly lag: number;
}

const lookMs = 100;
const mib = 1 << 20;

/** Looks at a process's own metrics again and again. */
export function watchPeaks({ metric }: Member): { stop(): Promise<Peaks> } {
  const peaks = { externalMiB: 0, lag: 0 };
  let isStopped = false;
  const look = async () => {
    const [external, lag] = await Promise.all([metric('nodejs_external_memory_bytes'), metric('weir_lag_records')]);
    peaks.externalMiB = Math.max(peaks.externalMiB, external / mib);
    peaks.lag = Math.max(peaks.lag, lag);
  };
  const watching = (async () => {
    for (; !isStopped; await delay(lookMs)) await look();
  })();
  // Thrown where it is stopped: the process may have ended before.
  watching.catch(() => undefined);
  return {
    async stop() {
      isStopped = true;
      await watching;
      await look();
      return peaks;
    },
  };
}
