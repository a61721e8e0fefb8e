import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { type Ownership, partitionName, type RawBatch, type RecordFormat } from '../ports.ts';
import { brokerFault, isRebalancing, isUnreachable } from './faults.ts';
import type { Feed, Fetcher } from './fetcher.ts';
import type { Growth } from './growth.ts';
import { createPrefetch, type PrefetchLimits } from './prefetch.ts';

export interface OwnedPartitionParts {
  readonly stream: string;
  readonly partition: number;
  readonly format: RecordFormat;
  /** See `Ownership`. */
  readonly isAdded: boolean;
  readonly growth: Pick<Growth, 'at' | 'mark'>;
  readonly maxEvents: number;
  readonly limits: PrefetchLimits;
  readonly brokers: readonly string[];
  readonly fetcher: Fetcher;
  /** How many the topic has by now. */
  partitions(): number;
  /** Resolves when the group has confirmed the membership, or ended it, after the call. */
  confirmed(): Promise<void>;
  /** The group's last word is so old that it may have given the partition away since, as after a pause of the process. */
  isDoubtful(): boolean;
  commit(partition: number, offset: number, mark: string): Promise<void>;
  readonly clock: Clock;
  range(): Promise<{ readonly earliest: number; readonly end: number }>;
  checkpointed(): Promise<number | undefined>;
  /** After so long without an answer to fetches it is asked what is wrong. Milliseconds. */
  readonly silenceMs: number;
  /** No fault of this process, but a person should know. */
  warn(sentence: string): void;
}

/** An ownership together with the side that the group drives. */
export interface OwnedPartition {
  readonly ownership: Ownership;
  revoke(): void;
}

/** How long a read waits for records before it answers with an empty batch. */
const readWaitMs = 200;
/** A transaction that is open for longer than that is worth a word. */
const hiddenMs = 60_000;

export function createOwnedPartition(parts: OwnedPartitionParts): OwnedPartition {
  const { stream, partition, fetcher, maxEvents } = parts;
  const prefetch = createPrefetch(parts.limits);
  const revocation = new AbortController();
  let isPaused = false;
  let isAstray = false;
  /** Why nothing more can be fetched; told when all that was fetched before is read. */
  let failure: WeirError | undefined;
  /** What the broker has deleted before it was read; told with the next batch. */
  let lost: RawBatch['lost'];
  let wake = () => {};
  /** When the partition's broker last answered a fetch, or there was no need to ask it. */
  let heardAt = parts.clock.monotonic();
  const heard = () => {
    heardAt = parts.clock.monotonic();
  };

  /** Since when nothing can be read at an offset that the log has. */
  let hidden: { readonly offset: number; readonly since: number; isTold: boolean } | undefined;

  function noteHidden(offset: number, end: number): void {
    const now = parts.clock.monotonic();
    if (end <= offset) hidden = undefined;
    else if (hidden?.offset !== offset) hidden = { offset, since: now, isTold: false };
    else if (!hidden.isTold && now - hidden.since > hiddenMs) {
      hidden.isTold = true;
      parts.warn(
        `${partitionName({ stream, partition })} has records from offset ${offset} to ${end} that cannot be read yet: a producer's transaction has been open there ` +
          `for more than ${hiddenMs / 1000} s. If it hangs, kafka-transactions.sh find-hanging names it, and abort ends it`,
      );
    }
  }

  const assertOwned = () => {
    if (!revocation.signal.aborted) return;
    throw new WeirError(
      'FENCED',
      `partition ${partitionName({ stream, partition })} is not owned by this process any more`,
    );
  };

  const feed: Feed = {
    partition,
    wanted() {
      if (isPaused) isPaused = !prefetch.isLow;
      if (isPaused || isAstray || failure !== undefined) return undefined;
      return Number.isNaN(prefetch.fetchPosition) ? undefined : prefetch.fetchPosition;
    },
    fetched(batch, next) {
      heard();
      // An answer from before a seek.
      if (isAstray || Number(batch.fetchedOffset) !== prefetch.fetchPosition) return;
      prefetch.push(batch.messages, next, Number(batch.highWatermark));
      isPaused ||= prefetch.isFull;
      wake();
    },
    nothingFetched(offset, end) {
      heard();
      if (isAstray || offset !== prefetch.fetchPosition) return;
      prefetch.ends(end);
      noteHidden(offset, end);
    },
    outOfRange() {
      isAstray = true;
      wake();
    },
    failed(offset, error) {
      if (isAstray || offset !== prefetch.fetchPosition) return;
      failure = error;
      wake();
    },
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
    const from = Math.max(position, earliest);
    lost = from > position ? { from: position, to: from } : undefined;
    isAstray = false;
    failure = undefined;
    isPaused = false;
    prefetch.reset(from, end);
    heard();
    fetcher.wake();
  }

  /**
   * Fetches are tried again and again, whatever comes of them: most faults pass. Of one that lasts somebody has to know: no broker leads the
   * partition, or there is no such topic any more. Whoever cannot be reached is looked after elsewhere. Nobody waits for the answer: fetches may succeed before.
   */
  function askWhy(): void {
    if (parts.clock.monotonic() - heardAt <= parts.silenceMs) return;
    heard();
    const askedAt = heardAt;
    parts.range().then(
      ({ end }) => {
        if (end > prefetch.position) prefetch.ends(end);
      },
      (error: WeirError) => {
        if (heardAt !== askedAt || revocation.signal.aborted || isUnreachable(error)) return;
        failure = error;
        wake();
      },
    );
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

  function revoke(): void {
    revocation.abort();
    fetcher.remove(feed);
    wake();
  }

  const ownership: Ownership = {
    stream,
    partition,
    get partitions() {
      return parts.partitions();
    },
    format: parts.format,
    isAdded: parts.isAdded,
    grownAt: parts.growth.at,
    mark: parts.growth.mark,
    revoked: revocation.signal,
    range: parts.range,
    async read(position) {
      if (parts.isDoubtful()) await parts.confirmed();
      assertOwned();
      if (position !== prefetch.position || isAstray) await seek(position);
      if (!prefetch.isEmpty) heard();
      else if (failure === undefined) await arrival();
      if (prefetch.isEmpty && failure === undefined) askWhy();
      if (prefetch.isEmpty && failure !== undefined) {
        // Whoever reads on has it fetched anew.
        isAstray = true;
        throw failure;
      }
      // Revoked while it waited: nothing has come, and the reader can end in order.
      const batch = revocation.signal.aborted ? prefetch.nothing() : prefetch.take(maxEvents);
      if (isPaused && prefetch.isLow) fetcher.wake();
      if (lost === undefined) return batch;
      const told = { ...batch, lost };
      lost = undefined;
      return told;
    },
    checkpointed: parts.checkpointed,
    async checkpoint(position) {
      for (;;) {
        assertOwned();
        const confirmed = parts.confirmed();
        try {
          return await parts.commit(partition, position, parts.growth.mark.text);
        } catch (error) {
          assertOwned();
          if (!isRebalancing(error))
            throw brokerFault(
              error,
              `committing the position of ${partitionName({ stream, partition })}`,
              parts.brokers,
            );
        }
        await confirmed;
      }
    },
    confirmed: parts.confirmed,
    async release() {
      if (!revocation.signal.aborted) revoke();
    },
  };

  fetcher.add(feed);
  return { ownership, revoke };
}
