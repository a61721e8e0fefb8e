import type { FeatureEngine } from '../features/engine.ts';
import type { Flusher } from '../features/flusher.ts';
import { WeirError } from '../runtime/errors.ts';
import type { Alignment } from './alignment.ts';
import type { Decoder } from './decode/decoder.ts';
import { type Ownership, partitionName, type RawBatch } from './ports.ts';

/** What it takes to bring one partition's state up to a position of its log. */
export interface RecoveryParts {
  readonly ownership: Ownership;
  readonly decoder: Decoder;
  readonly engine: FeatureEngine;
  readonly flusher: Flusher;
  readonly alignment: Pick<Alignment, 'replaying'>;
  readonly observer: RecoveryObserver;
  /** Through which offset every sub-state of the partition is stored. */
  readonly fence: () => Promise<number | undefined>;
}

export interface RecoveryObserver {
  /** @param isTruncated the log begins behind the fence, or has been cut while it was read. */
  recovering(from: number, to: number, isTruncated: boolean): void;
  recovered(events: number): void;
}

/** Offsets of a partition that its state begins from. */
export interface RecoveryRange {
  /** Through where all is stored; 0 for nothing. */
  readonly fence: number;
  /** The first that is still in the log. */
  readonly earliest: number;
  /** What is published; asked for after the fence. */
  readonly position: number;
}

/**
 * Applies the log from the fence to the committed position, state only. Sub-states that were stored beyond the fence leave out
 * what they have, so any number of repetitions ends in the same state.
 * @returns through where the state reaches now: less than the position when the partition was left on the way.
 */
export async function recover(
  parts: RecoveryParts,
  { fence, earliest, position }: RecoveryRange,
  isLeft: () => boolean,
): Promise<number> {
  const name = partitionName(parts.ownership);
  if (fence > position) throw stateAhead(parts.ownership, fence, position);
  const from = Math.max(fence, earliest);
  await parts.engine.learnOthers();
  if (from > fence) parts.engine.truncated(name, from);
  if (from >= position) return position;
  parts.observer.recovering(from, position, from > fence);
  return replayThrough(parts, from, position, isLeft);
}

function stateAhead(of: Ownership, fence: number, position: number): WeirError {
  return new WeirError(
    'CONFIG',
    `the state of ${partitionName(of)} reaches offset ${fence}, but its output only ${position}: the output was lost or set back, and the state does not follow by itself. ` +
      `Positions of a consumer group: check the group's name, stop all processes and run weir offsets reset --to-offset ${position} --partition ${of.partition}. A checkpoint of Kinesis that was set back: stop all processes and run weir offsets reset with --to-earliest or --to-time; a lease that was deleted or made anew: put it back. Else, and for files: empty the state, or give the job another name`,
  );
}

/**
 * Applies the log between two positions that are published, state only.
 * @returns through where it came: less than the position when the partition was left on the way.
 * @throws WeirError INPUT when the log ends before the position.
 */
export async function replayThrough(
  parts: RecoveryParts,
  from: number,
  position: number,
  isLeft: () => boolean,
): Promise<number> {
  const { ownership } = parts;
  let at = from;
  while (at < position && !isLeft()) {
    const raw = upTo(await ownership.read(at), position);
    const { lost } = raw;
    if (lost !== undefined) {
      parts.engine.truncated(partitionName(ownership), lost.to);
      // It was scored before, so it is not counted as lost.
      parts.observer.recovering(Math.min(lost.to, position), position, true);
    }
    if (raw.values.length === 0 && raw.next >= raw.end && raw.next < position) {
      throw new WeirError(
        'INPUT',
        `${partitionName(ownership)} ends at ${raw.end}, but it was read to ${position} before: restore it, or begin anew with another job name`,
      );
    }
    await replayBatch(parts, raw);
    at = raw.next;
  }
  return at;
}

/** Applies one batch, all of which is published: the store may have it, which keeps a long recovery's memory and its repetition short. */
export async function replayBatch(parts: RecoveryParts, raw: RawBatch): Promise<void> {
  const { ownership, decoder, engine, flusher, alignment, observer } = parts;
  const { batch } = decoder.decode(raw, ownership);
  engine.counted(ownership.partitions, ownership.readable?.(), ownership.grownAt?.());
  alignment.replaying(batch);
  const name = partitionName(ownership);
  engine.replay(batch, await engine.load(batch, name), name);
  observer.recovered(batch.count);
  await flusher.published(raw.next);
}

/** The batch without the records at or behind the position. */
function upTo(raw: RawBatch, position: number): RawBatch {
  if (raw.next <= position) return raw;
  const count = raw.offsets.findIndex((offset) => offset >= position);
  if (count < 0) return { ...raw, next: position };
  return {
    ...raw,
    values: raw.values.slice(0, count),
    keys: raw.keys.slice(0, count),
    offsets: raw.offsets.slice(0, count),
    timestamps: raw.timestamps.slice(0, count),
    next: position,
  };
}
