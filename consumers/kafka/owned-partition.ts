import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { type Ownership, partitionName, type RecordFormat } from '../ports.ts';
import { brokerFault } from './faults.ts';
import type { FetchedBatch, GroupMember } from './group-member.ts';
import { createPrefetch, type PrefetchLimits } from './prefetch.ts';

export interface OwnedPartitionParts {
  readonly stream: string;
  readonly partition: number;
  readonly partitions: number;
  readonly format: RecordFormat;
  readonly maxEvents: number;
  readonly limits: PrefetchLimits;
  readonly brokers: readonly string[];
  readonly clock: Clock;
  readonly member: Pick<GroupMember, 'seek' | 'pause' | 'resume' | 'commit'>;
  range(): Promise<{ readonly earliest: number; readonly end: number }>;
  checkpointed(): Promise<number | undefined>;
  /** The broker has deleted records that were to be read. */
  lost(from: number, to: number): void;
}

/** An ownership together with the side that the group's events drive. */
export interface OwnedPartition {
  readonly ownership: Ownership;
  /** Takes a batch in; false when it comes from before a seek. */
  fetched(batch: FetchedBatch, isStale: boolean): boolean;
  skipped(first: number, next: number, end: number): void;
  revoke(): void;
}

/** How long a read waits for records before it answers with an empty batch. */
const readWaitMs = 200;

export function createOwnedPartition(parts: OwnedPartitionParts): OwnedPartition {
  const { stream, partition, partitions, member, maxEvents } = parts;
  const prefetch = createPrefetch(parts.limits);
  const revocation = new AbortController();
  let isPaused = false;
  let isSeeking = false;
  let isAstray = false;
  let wake = () => {};

  const assertOwned = () => {
    if (!revocation.signal.aborted) return;
    throw new WeirError(
      'FENCED',
      `partition ${partitionName({ stream, partition })} is not owned by this process any more`,
    );
  };

  /** Drops what is held and fetches from the position; from the earliest record where the log no longer reaches back to it. */
  async function seek(position: number): Promise<void> {
    const { earliest, end } = await parts.range();
    if (position > end) {
      const name = partitionName({ stream, partition });
      const message = `position ${position} of ${name} lies behind the log's end ${end}: the topic seems to have been created anew`;
      throw new WeirError('INPUT', `${message}; use another group, or reset the group's offsets`);
    }
    assertOwned();
    isSeeking = true;
    const from = Math.max(position, earliest);
    if (from > position) parts.lost(position, from);
    await member.seek(partition, from);
    isSeeking = false;
    isAstray = false;
    isPaused = false;
    prefetch.reset(from, end);
  }

  function arrival(): Promise<void> {
    return new Promise((resolve) => {
      const cancelTimer = parts.clock.after(readWaitMs, done);
      function done() {
        cancelTimer();
        wake = () => {};
        resolve();
      }
      wake = done;
    });
  }

  const ownership: Ownership = {
    stream,
    partition,
    partitions,
    format: parts.format,
    revoked: revocation.signal,
    range: parts.range,
    async read(position) {
      assertOwned();
      if (position !== prefetch.position || isAstray) await seek(position);
      if (prefetch.isEmpty) await arrival();
      assertOwned();
      const batch = prefetch.take(maxEvents);
      if (isPaused && prefetch.isLow) {
        isPaused = false;
        member.resume(partition);
      }
      return batch;
    },
    checkpointed: parts.checkpointed,
    async checkpoint(position) {
      assertOwned();
      await member.commit(partition, position).catch((error: unknown) => {
        assertOwned();
        throw brokerFault(error, `committing the position of ${partitionName({ stream, partition })}`, parts.brokers);
      });
      // The client answers a commit as done when it is no longer a member.
      assertOwned();
    },
    async release() {
      if (revocation.signal.aborted) return;
      revocation.abort();
      member.pause(partition);
    },
  };

  return {
    ownership,
    fetched(batch, isStale) {
      if (isStale || isSeeking || revocation.signal.aborted) return false;
      // An answer to a fetch from before the last seek, from a broker that no longer leads the partition: records would be left out.
      if (Number(batch.fetchedOffset) !== prefetch.fetchPosition) {
        isAstray = true;
        return false;
      }
      prefetch.push(batch.messages, Number(batch.lastOffset()) + 1, Number(batch.highWatermark));
      if (prefetch.isFull) {
        isPaused = true;
        member.pause(partition);
      }
      wake();
      return true;
    },
    skipped(first, next, end) {
      if (isSeeking || revocation.signal.aborted) return;
      if (first < prefetch.fetchPosition) {
        isAstray = true;
        return;
      }
      prefetch.push([], next, end);
      wake();
    },
    revoke() {
      revocation.abort();
      wake();
    },
  };
}
