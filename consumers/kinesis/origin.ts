import { WeirError } from '../../runtime/errors.ts';
import { compareSequences } from './positions.ts';
import type { ShardPage } from './shard-log.ts';

/**
 * Tells a place that the log no longer reaches back to from one that never was in it. Kinesis may refuse either, and the log is then read from
 * its oldest record: in the first case that lies behind the place.
 */
export interface OriginCheck {
  /** Kinesis does not take the sequence number to begin at. */
  refused(sequence: string): void;
  /** @throws WeirError INPUT when the log reaches back beyond the place that was refused. */
  read(page: ShardPage): void;
}

/** @param name of the shard, for the message. */
export function checkOrigin(name: string): OriginCheck {
  let wanted: string | undefined;
  return {
    refused(sequence) {
      wanted = sequence;
    },
    read({ records: [first] }) {
      if (wanted === undefined || first === undefined) return;
      if (compareSequences(first.sequence, wanted) < 0) {
        const message = `the position ${wanted} was never one of ${name}: the lease table is that of another stream, or of one that was deleted`;
        throw new WeirError('INPUT', `${message}; use another application`);
      }
      wanted = undefined;
    },
  };
}
