import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Lease } from './lease.ts';
import { changed, type LeaseChange } from './lease-change.ts';
import { outcomeOf } from './lease-outcome.ts';
import type { LeaseTable } from './lease-table.ts';

export interface LeaseWrites {
  /**
   * Makes the change, however often requests or their answers get lost. Gives the lease as it then is; undefined when it is somebody
   * else's, or gone.
   * @param given aborts when the change is not to be made any more; undefined is then the answer.
   * @throws WeirError BROKER when the table did not answer for `patienceMs`.
   */
  make(change: LeaseChange, given?: AbortSignal): Promise<Lease | undefined>;
}

const firstWaitMs = 50;
const longestWaitMs = 1_000;

/** @param patienceMs how long to try: by then the lease has expired for everybody. */
export function leaseWrites(table: LeaseTable, worker: string, patienceMs: number, clock: Clock): LeaseWrites {
  /** As the table has it now. What the request itself answered tells less: it may have been the second of its kind. */
  async function attempt(change: LeaseChange): Promise<Lease | undefined | 'unknown' | LeaseChange> {
    try {
      if (await table.write(change)) return changed(change);
    } catch (error) {
      passing(error);
    }
    try {
      const outcome = outcomeOf(change, await table.read(change.lease.key), worker);
      if (outcome.kind === 'again') return { ...change, lease: outcome.lease };
      return outcome.kind === 'done' ? outcome.lease : undefined;
    } catch (error) {
      passing(error);
      return 'unknown';
    }
  }

  return {
    async make(change, given) {
      const end = clock.monotonic() + patienceMs;
      let next = change;
      const backoff = createBackoff(firstWaitMs, longestWaitMs);
      for (;;) {
        const result = await attempt(next);
        if (result === undefined || (result !== 'unknown' && !('kind' in result))) return result;
        if (result !== 'unknown') next = result;
        if (clock.monotonic() >= end) {
          const { kind, lease } = change;
          throw new WeirError(
            'BROKER',
            `the lease table has not taken the ${kind} of ${lease.key} for ${patienceMs} ms`,
          );
        }
        // Once the lease is lost, the same worker may take it anew: its counter then tells no more that this change is still due.
        if (given?.aborted || !(await clock.sleep(backoff.next(), given))) return undefined;
      }
    },
  };
}

/** Lets pass what ends by itself. */
function passing(error: unknown): void {
  if (!(error instanceof WeirError) || error.code !== 'BROKER') throw error;
}
