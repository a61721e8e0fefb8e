import type { Member } from './fleet.ts';

/** The most that a process has needed and waited for since it was watched. */
export interface Peaks {
  /** Resident set, MiB. */
  readonly residentMiB: number;
  /** Memory outside of the heap, MiB: the bytes of records that were fetched and are not done with. */
  readonly externalMiB: number;
  readonly lag: number;
}

const lookMs = 100;
const mib = 1 << 20;

/** Looks at a process's own metrics again and again. */
export function watchPeaks({ metric }: Member): { stop(): Promise<Peaks> } {
  const peaks = { residentMiB: 0, externalMiB: 0, lag: 0 };
  const look = async () => {
    const [resident, external, lag] = await Promise.all(
      ['process_resident_memory_bytes', 'nodejs_external_memory_bytes', 'weir_lag_records'].map(metric),
    );
    peaks.residentMiB = Math.max(peaks.residentMiB, resident / mib);
    peaks.externalMiB = Math.max(peaks.externalMiB, external / mib);
    peaks.lag = Math.max(peaks.lag, lag);
  };
  let looking = look();
  const timer = setInterval(() => {
    looking = looking.then(look);
  }, lookMs);
  return {
    async stop() {
      clearInterval(timer);
      await looking;
      await look();
      return peaks;
    },
  };
}
