import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { type Ownership, partitionName, type RawBatch, type RecordFormat } from '../ports.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type HashRange, hashFilter } from './hash-range.ts';
import { createNumbering } from './numbering.ts';
import {
  type Anchor,
  anchorsOf,
  compareSequences,
  isOrigin,
  type KeptPositions,
  type Place,
  type PositionTexts,
  readPositions,
  withAnchor,
  withBeginning,
  withFence,
  withoutGone,
  writePositions,
} from './positions.ts';
import type { ShardLog } from './shard-log.ts';
import { createShardReader, type ShardReader, type TakenBatch } from './shard-reader.ts';
import type { Shard } from './shards.ts';
import { countBack, firstRecord, stand, startAt } from './standing.ts';

/** What an owned shard needs of its lease. */
export interface ShardLease {
  readonly key: string;
  readonly checkpoint: Checkpoint;
  readonly positions: PositionTexts;
  readonly hashRange: HashRange;
  /** Aborts when the lease is lost or given back. */
  readonly revoked: AbortSignal;
  /** Aborts when another worker asks for the lease. */
  readonly recalled: AbortSignal;
  /** @throws WeirError FENCED when the lease is lost; BROKER when the table does not answer. */
  write(checkpoint: Checkpoint, positions: PositionTexts): Promise<void>;
  /** The shard is done with; its lease is not held any more. */
  end(children: readonly Shard[]): Promise<void>;
  /** Asks the table whether it is still held; if not, it is revoked. */
  confirm(): Promise<void>;
  /** Gives the lease back. */
  evict(): Promise<void>;
}

export interface OwnedShardParts {
  readonly stream: string;
  readonly partition: number;
  /** How many shards there have been: their numbers are below. */
  readonly partitions: () => number;
  /** Numbers of those that may be read and are not done with. */
  readonly readable: () => readonly number[];
  /** Numbers of those that the shard came from, all read to their end. */
  readonly ancestors: () => readonly number[];
  /** Whether the stream has told that the shard was split or merged. */
  readonly isClosed: () => boolean;
  readonly format: RecordFormat;
  readonly maxEvents: number;
  readonly limits: { readonly records: number; readonly bytes: number };
  readonly lease: ShardLease;
  /** For looking here and there. */
  readonly log: ShardLog;
  /** For reading on. */
  readonly tail: ShardLog;
  /** Where the application begins with start latest or at-timestamp, milliseconds since the epoch. */
  readonly startsAt: () => number;
  /** Whether the log has all that ever was in the shard, and what its parents had is stored. */
  readonly isWhole: (kept: KeptPositions) => Promise<boolean>;
  readonly clock: Clock;
  readonly onBehind: (ms: number) => void;
  /** Told how many bytes of records were read on. */
  readonly onRead: (bytes: number) => void;
}

/** How long a read waits for records before it answers with an empty batch. */
const readWaitMs = 200;

/** A place that positions of batches were given for. */
interface BatchEnd {
  readonly position: number;
  readonly place: Place;
}

/** One shard as a partition of the pipeline: numbers in place of sequence numbers, and its end once all is published and stored. */
export function createOwnedShard(parts: OwnedShardParts): Ownership {
  const { stream, partition, lease, log, clock } = parts;
  const name = partitionName({ stream, partition });
  const release = new AbortController();
  const revoked = AbortSignal.any([lease.revoked, release.signal]);
  const filter = hashFilter(lease.hashRange);
  let kept = readPositions(lease.positions, lease.key);
  let checkpoint = lease.checkpoint;
  let position: number | undefined;
  let settled: Promise<void> | undefined;
  /** The oldest record that the log had when it was last looked for. */
  let oldest: string | undefined;
  /** Places that were counted back from what is kept: whoever comes after counts the same. */
  let counted: readonly Anchor[] = [];
  let reader: ShardReader | undefined;
  let ends: BatchEnd[] = [];
  let given = Number.NEGATIVE_INFINITY;
  let stored = Number.NEGATIVE_INFINITY;
  let ending: Promise<void> | undefined;

  function assertOwned(): void {
    if (revoked.aborted) throw new WeirError('FENCED', `partition ${name} is not owned by this process any more`);
  }

  async function write(): Promise<void> {
    await lease.write(checkpoint, writePositions(kept));
  }

  /** Finds out, once, which position the lease's checkpoint is. */
  async function settle(): Promise<void> {
    settled ??= findPosition();
    try {
      await settled;
    } catch (error) {
      settled = undefined;
      throw error;
    }
  }

  async function findPosition(): Promise<void> {
    const standing = await stand(checkpoint, kept, log, parts.startsAt);
    assertOwned();
    if (standing.kept !== kept) {
      kept = standing.kept;
      await write();
    }
    position = standing.position;
    given = position ?? given;
    if (position !== undefined && kept.checkpoint !== undefined && !isOrigin(kept.checkpoint)) {
      ends = [{ position, place: kept.checkpoint }];
    }
  }

  /** What is kept, and all other places whose number is known here. */
  function numbered(): KeptPositions {
    return { ...kept, anchors: counted.reduce(withAnchor, kept.anchors) };
  }

  /** The least number that the log's oldest record can have. */
  async function findEarliest(): Promise<number> {
    const first = await firstRecord(log);
    if (first === undefined) return position ?? createNumbering(kept, undefined).next;
    oldest = first.sequence;
    kept = { ...kept, anchors: withoutGone(kept.anchors, oldest) };
    return createNumbering(numbered(), undefined).place(oldest, first.arrivedAt, 1).number;
  }

  /** Reads from the position on, counting from the last anchor before it. */
  async function seek(to: number): Promise<ShardReader> {
    reader?.close();
    reader = undefined;
    const oldestLeft = await closeGap(to);
    const from = oldestLeft ?? anchorsOf(numbered()).findLast(({ number }) => number <= to);
    reader = createShardReader({
      pages: parts.tail.open(startAt(from)),
      numbering: createNumbering(numbered(), from),
      cut,
      isBehindAnchor: from !== undefined,
      filter,
      position: to,
      limits: parts.limits,
      clock,
      onBehind: parts.onBehind,
      onRead: parts.onRead,
    });
    return reader;
  }

  /**
   * Where the anchor to count from is gone, the log's oldest record gets its number by counting back from the next: states may reach further
   * than any other number that it could get.
   * @returns the log's oldest record, where it was counted and lies behind the position.
   */
  async function closeGap(to: number): Promise<Anchor | undefined> {
    const anchors = anchorsOf(numbered());
    const gone = anchors.findLastIndex(
      ({ sequence }) => oldest !== undefined && compareSequences(sequence, oldest) < 0,
    );
    const next = anchors[gone + 1];
    if (gone < 0 || next === undefined || next.isJump || to >= next.number) return undefined;
    const places = await countBack(log, next);
    assertOwned();
    if (places === undefined) throw cut();
    counted = [...places, ...counted.filter(({ number }) => number > next.number)];
    const [first] = places;
    kept = { ...kept, anchors: withAnchor(kept.anchors, first) };
    await write();
    return first.number > to ? first : undefined;
  }

  function cut(): WeirError {
    const message = `the log of ${name} has been cut beyond the state that is stored of it`;
    return new WeirError('INPUT', `${message}: the partition begins again, with what is left`);
  }

  /**
   * What is given out must have the same number for whoever comes after.
   * @param from the position before the batch.
   * @returns what was gone before it was read. How many records that were, Kinesis does not tell: it stands for one.
   */
  async function keepNumbers(
    from: number,
    { beginnings, last, firstLeft, batch }: TakenBatch,
  ): Promise<RawBatch['lost']> {
    const before = kept;
    const known = wantedAnchors().at(-1);
    const behind = known && beginnings.find(({ number }) => number > known.number);
    if (beginnings.length > 0) {
      const anchors = beginnings.reduce(withBeginning, anchorsOf(kept));
      kept = { ...kept, anchors: behind === undefined ? anchors : withoutGone(anchors, behind.sequence) };
    }
    if (last !== undefined && position !== undefined && batch.next < position) keepAhead(last);
    if (kept !== before) await write();
    const first = firstLeft ?? behind ?? jumpWithin(from, batch.next);
    return first && { from: first.number - 1, to: first.number };
  }

  /** A gap that was found before, by somebody who did not come to publish what is behind it. */
  function jumpWithin(from: number, to: number): Anchor | undefined {
    const unpublished = Math.max(from, position ?? Number.POSITIVE_INFINITY);
    // Counting begins there, and nothing was before it.
    const origin = isOrigin(kept.checkpoint) ? kept.checkpoint.number : undefined;
    return wantedAnchors().find(
      ({ isJump, number }) => isJump && number !== origin && number >= unpublished && number < to,
    );
  }

  /** What comes before the origin is nobody's to read. */
  function wantedAnchors(): readonly Anchor[] {
    const { checkpoint: origin } = kept;
    return isOrigin(origin) ? anchorsOf(kept).filter(({ number }) => number >= origin.number) : anchorsOf(kept);
  }

  /**
   * State that is made anew is stored without a checkpoint. Should the log be cut in the meantime, its numbers are found by counting back from
   * an anchor: so there is always one ahead.
   */
  function keepAhead(last: Place): void {
    const next = anchorsOf(kept).find(({ sequence }) => compareSequences(sequence, last.sequence) >= 0);
    if (next !== undefined && !next.isJump) return;
    const { ahead = last } = reader!;
    const isBefore = next === undefined || compareSequences(ahead.sequence, next.sequence) < 0;
    kept = { ...kept, anchors: withAnchor(kept.anchors, { ...(isBefore ? ahead : last), isJump: false }) };
  }

  function remember({ batch, last }: TakenBatch): void {
    if (last === undefined) return;
    if (batch.values.length > 0) given = Math.max(given, batch.next);
    // Recovery reads again what was read before.
    while (ends.length > 0 && ends[ends.length - 1].position >= batch.next) ends.pop();
    ends.push({ position: batch.next, place: last });
  }

  async function readOn(from: number): Promise<RawBatch> {
    assertOwned();
    await settle();
    const reading = reader === undefined || reader.position !== from ? await seek(from) : reader;
    await reading.arrival(readWaitMs);
    assertOwned();
    const before = reading.position;
    const taken = reading.take(parts.maxEvents);
    const lost = await keepNumbers(before, taken);
    remember(taken);
    if (taken.batch.values.length === 0) await endIfDone();
    else assertOwned();
    return { ...taken.batch, end: endOf(taken.batch), lost };
  }

  /**
   * What was put after a closed shard's last record is in those that follow it, which nobody may have begun to read: to others it is not at its end,
   * and who reads to the end has yet to read those. Before the position an end is told, or a recovery would wait for ever for records that the shard does not have.
   */
  function endOf({ next, end }: RawBatch): number {
    const isFollowed = reader?.children !== undefined || parts.isClosed();
    return isFollowed && next >= (position ?? next) ? Number.POSITIVE_INFINITY : end;
  }

  /** Once the state is stored to the shard's end, its log is not needed any more. */
  async function endIfDone(): Promise<void> {
    const children = reader?.children;
    if (children === undefined || stored < given) return;
    ending ??= lease.end(children).finally(() => {
      ending = undefined;
    });
    await ending;
    release.abort();
  }

  revoked.addEventListener('abort', () => reader?.close(), { once: true });

  return {
    stream,
    partition,
    get partitions() {
      return parts.partitions();
    },
    readable: parts.readable,
    ancestors: parts.ancestors,
    format: parts.format,
    revoked,
    recalled: lease.recalled,
    async range() {
      assertOwned();
      await settle();
      const earliest = (await parts.isWhole(kept)) ? 0 : await findEarliest();
      assertOwned();
      return { earliest, end: Number.POSITIVE_INFINITY };
    },
    async read(from) {
      try {
        return await readOn(from);
      } catch (error) {
        // Whoever reads on has it read anew: a reader that has failed says so for ever, and what was taken from it is not given out.
        reader?.close();
        reader = undefined;
        throw error;
      }
    },
    async checkpointed() {
      assertOwned();
      await settle();
      // Whoever asks begins anew, perhaps because the store has lost what it had.
      stored = Number.NEGATIVE_INFINITY;
      return position;
    },
    async checkpoint(to) {
      assertOwned();
      if (to === position) return;
      const end = ends.find((one) => one.position === to);
      if (end === undefined) throw new WeirError('INTERNAL', `position ${to} of ${name} is no end of a batch`);
      checkpoint = { sequence: end.place.sequence, sub: to - end.place.number - 1 };
      kept = { ...kept, checkpoint: end.place };
      position = to;
      await write();
      assertOwned();
    },
    stored(through) {
      stored = through;
      const last = ends.findLastIndex((one) => one.position <= through);
      if (last < 0) return;
      kept = { ...kept, anchors: withFence(kept.anchors, ends[last].place) };
      ends = ends.slice(last);
      // What fails now is tried again, and told, with the next read.
      void endIfDone().catch(() => undefined);
    },
    confirmed: lease.confirm,
    async release() {
      if (revoked.aborted) return;
      release.abort();
      await lease.evict();
    },
  };
}
