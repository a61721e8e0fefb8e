import type { Clock } from '../../runtime/clock.ts';
import type { ShardPage } from './shard-log.ts';

/** Kinesis keeps every record for a day at least; an hour of it is left for clocks that differ. */
const surelyKeptMs = 23 * 3_600_000;

/**
 * Notices what retention deletes ahead of a reader: Kinesis then goes on at its oldest record and does not say so. While all that had arrived a
 * day ago is read, nothing can be gone. Beyond that reading begins at the last record once more: what follows it there has no gap.
 */
export interface Trail {
  /**
   * The sequence number of the last record, where reading has to begin at it once more.
   * @param isOpening no place to go on from is held: without doubt, reading begins behind the last record.
   */
  doubted(isOpening: boolean): string | undefined;
  /**
   * What was read, without the record that was only to be found again.
   * @param asOf no later than what the page says of the log's end, milliseconds since the epoch.
   */
  follow(page: ShardPage, asOf: number): ShardPage;
}

export function followTrail(clock: Clock): Trail {
  let last: string | undefined;
  /** All that had arrived by then is read, milliseconds since the epoch. */
  let through = Number.NEGATIVE_INFINITY;
  /** The last record, until the first that comes shows whether it was still there. */
  let sought: string | undefined;
  /** It was found, or sought in vain: again only for another, or what is behind it would never come. */
  let looked: string | undefined;

  return {
    doubted(isOpening) {
      if (last === undefined || sought !== undefined || clock.now() - through < surelyKeptMs) return undefined;
      if (!isOpening && looked === last) return undefined;
      sought = last;
      looked = last;
      return last;
    },
    follow(page, asOf) {
      const { records, millisBehind } = page;
      const newest = records.at(-1);
      const before = sought;
      if (newest !== undefined) {
        sought = undefined;
        last = newest.sequence;
        through = Math.max(through, newest.arrivedAt);
      }
      if (millisBehind === 0) through = Math.max(through, asOf);
      if (before === undefined || newest === undefined) return page;
      return records[0].sequence === before ? { ...page, records: records.slice(1) } : { ...page, isBehindGap: true };
    },
  };
}
