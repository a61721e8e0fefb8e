import type { Loaded } from '../features/cache.ts';
import type { TransactionBatch } from '../features/columns.ts';
import type { Applied } from '../features/engine.ts';
import { newRows } from '../features/rows.ts';
import { WeirError } from '../runtime/errors.ts';
import type { ScoredBatch, Scorer } from '../scoring/scorer.ts';
import { type Alignment, type AlignmentObserver, type Turn, unaligned } from './alignment.ts';
import type { DecodedBatch } from './decode/decoder.ts';
import { type Output, type OutputEvent, type Ownership, partitionName, type RawBatch } from './ports.ts';
import { publishedRows } from './published-rows.ts';
import { type RecoveryObserver, type RecoveryParts, recover } from './recovery.ts';
import { scoreRows } from './scoring.ts';
import { type ReadBatch, splitAt } from './split.ts';

/** What one partition's loop is made of. */
export interface PartitionParts extends RecoveryParts {
  readonly alignment: Alignment;
  readonly output: Output;
  readonly scorer: Scorer;
  readonly observer: PartitionObserver;
  /** Where a partition without a committed position begins. */
  readonly start: 'earliest' | 'latest';
}

/** Watches the loop; times are taken by the observer. */
export interface PartitionObserver extends RecoveryObserver, AlignmentObserver {
  /** Times a stage of a batch. */
  stage<T>(name: Stage, work: () => T): T;
  /** The state reaches the position: scoring begins. */
  restored(): void;
  published(batch: PublishedBatch): void;
  /** The log has been cut before it was read: what was there is never scored. Told again when the partition begins again before it. */
  lost(from: number, to: number): void;
  flushed(fence: number, seconds: number): void;
  /** The partition goes on without the store, or no longer. */
  degraded(isDegraded: boolean): void;
}

export type Stage = 'read' | 'decode' | 'load' | 'apply' | 'score' | 'publish';

export interface PublishedBatch {
  readonly raw: RawBatch;
  /** The rows that have a risk event. */
  readonly decoded: DecodedBatch;
  readonly applied: Applied;
  readonly scored: ScoredBatch;
  /** Scored without the store. */
  readonly isDegraded: boolean;
}

/**
 * One partition from the moment it is owned: fence the former owner, recover the state up to the committed position, then score
 * batch after batch until the signal aborts or, with `untilEnd`, the log's present end is reached. The order within a batch is what
 * makes it exactly once: apply, score, publish with the position, and only then let the store have the state.
 */
export async function runPartition(parts: PartitionParts, untilEnd: boolean, signal: AbortSignal): Promise<void> {
  const { ownership, flusher, alignment } = parts;
  const isLeft = () => signal.aborted || ownership.revoked.aborted;
  const range = await ownership.range();
  // The fence first: it never passes the position, but a process that stood still between the two questions would find that it had.
  const stored = await orDegrade(parts, parts.fence, undefined);
  const fence = stored ?? 0;
  const position = await beginning(parts, range, stored);
  const recovered = flusher.isDegraded
    ? position
    : await orDegrade(parts, () => recover(parts, { fence, earliest: range.earliest, position }, isLeft), position);
  if (recovered < position) return;
  if (!flusher.isDegraded) parts.engine.recovering(partitionName(ownership), false);
  await flusher.published(position);
  parts.observer.restored();

  let at = position;
  let end = untilEnd ? range.end : Number.NaN;
  while (!isLeft() && !(at >= end)) {
    const raw = await parts.observer.stage('read', () => ownership.read(at));
    flusher.demand();
    noticeLoss(parts, raw);
    if (raw.values.length > 0) await processInTurn(parts, raw);
    else if (raw.next >= raw.end) alignment.ended();
    else alignment.blocked();
    at = raw.next;
    if (end === Number.POSITIVE_INFINITY) end = raw.end;
  }
  // What comes behind the end that it was to read to is nothing that others could wait for.
  if (!isLeft()) alignment.ended();
}

/** Where the store is away and the job is told to go on: `instead`, with nothing in memory but what comes from now on, all of it marked. */
async function orDegrade<T>(
  { engine, flusher, ownership }: PartitionParts,
  work: () => Promise<T>,
  instead: T,
): Promise<T> {
  const name = partitionName(ownership);
  try {
    return await work();
  } catch (error) {
    if (!flusher.degrade(error)) throw error;
    engine.lose(name);
    engine.gain(name, ownership.partitions, ownership.ancestors);
    return instead;
  }
}

/**
 * What was deleted before it was read is missing in the state: from the next event on windows that reach further back are incomplete. To be
 * called before anything of the batch is applied.
 */
function noticeLoss({ ownership, engine, observer }: PartitionParts, { lost }: RawBatch): void {
  if (lost === undefined) return;
  engine.truncated(partitionName(ownership), lost.to);
  observer.lost(lost.from, lost.to);
}

/**
 * The committed position. Where there is none, one at the log's end is committed before anything is read: until the first batch is
 * published every later owner would else begin at an end of its own, and leave out what came in between.
 */
async function beginning(
  { ownership, output, start }: PartitionParts,
  range: { readonly earliest: number; readonly end: number },
  stored: number | undefined,
): Promise<number> {
  const position = await output.position();
  // What an added partition has already came after the job had begun.
  if (position !== undefined || start === 'earliest' || ownership.isAdded) return position ?? range.earliest;
  if (stored !== undefined) throw positionLost(ownership, stored);
  if (ownership.revoked.aborted) throw revoked(ownership);
  await output.publish({ events: [], deadLetters: [] }, range.end);
  await output.sync?.();
  return range.end;
}

/** The records in as many batches as it takes to keep in step with the other partitions: one, unless they reach far ahead of them. */
async function processInTurn(parts: PartitionParts, raw: RawBatch): Promise<void> {
  const { ownership, decoder, engine, alignment, flusher, observer } = parts;
  engine.counted(ownership.partitions, ownership.readable?.(), ownership.grownAt?.());
  let rest: ReadBatch | undefined = {
    raw,
    decoded: observer.stage('decode', () => decoder.decode(raw, ownership)),
  };
  while (rest !== undefined) {
    const turn = await turnOf(parts, rest);
    if (turn === undefined) return;
    const [now, later]: [ReadBatch, ReadBatch | undefined] = splitAt(rest, turn.rows);
    // A flush may have failed while the batch waited for its turn: what it gave up may have left the memory, and the store does not have it.
    flusher.demand();
    const loaded = await observer.stage('load', () => loadOrHeld(parts, now.decoded.batch));
    if (turn.hasLapsed()) {
      loaded.release();
      continue;
    }
    await processBatch(parts, now, loaded, turn.seenBefore);
    if (later === undefined && raw.next >= raw.end) alignment.ended();
    await flusher.published(now.raw.next);
    rest = later;
  }
}

/** Without the store nobody knows how far others are: what they share is stale anyway. */
async function turnOf({ alignment, flusher }: PartitionParts, { raw, decoded }: ReadBatch): Promise<Turn | undefined> {
  if (!flusher.isDegraded) {
    try {
      return await alignment.turn(decoded.batch, raw);
    } catch (error) {
      if (!flusher.degrade(error)) throw error;
    }
  }
  return unaligned.turn(decoded.batch, raw);
}

async function processBatch(
  parts: PartitionParts,
  { raw, decoded }: ReadBatch,
  loaded: Loaded,
  seenBefore: number,
): Promise<void> {
  const { ownership, output, engine, scorer, flusher, observer } = parts;
  const name = partitionName(ownership);
  const rows = newRows(scorer.width);
  flusher.applying();
  const applied = observer.stage('apply', () => engine.apply(decoded.batch, loaded, name, rows, seenBefore));
  const published = publishedRows(decoded, rows, applied);
  const result = await observer.stage('score', () => scoreRows(scorer, raw, published, ownership));
  const { scored } = result;
  const { keys, deadLetters } = result.decoded;
  const events: OutputEvent[] = scored.events.map((event, row) => ({
    ...event,
    key: event.key === undefined ? keys[row] : event.key,
  }));
  if (ownership.revoked.aborted) throw revoked(ownership);
  await observer.stage('publish', () => output.publish({ events, deadLetters }, raw.next));
  observer.published({ raw, decoded: result.decoded, applied, scored, isDegraded: flusher.isDegraded });
}

/** Once the store was away, what is in memory has to do until the partition begins again. */
async function loadOrHeld({ ownership, engine, flusher }: PartitionParts, batch: TransactionBatch): Promise<Loaded> {
  const name = partitionName(ownership);
  if (!flusher.isDegraded) {
    try {
      return await engine.load(batch, name);
    } catch (error) {
      if (!flusher.degrade(error)) throw error;
    }
  }
  return engine.held(batch, name);
}

function positionLost(of: Ownership, fence: number): WeirError {
  return new WeirError(
    'CONFIG',
    `${partitionName(of)} has been read to offset ${fence} at least, as its state says, but its position is gone (expired or deleted), and start: latest would leave out ` +
      `what came since: stop all processes and run weir offsets reset --to-offset ${fence} --partition ${of.partition}, or with --to-latest to leave it out`,
  );
}

function revoked(ownership: Ownership): WeirError {
  return new WeirError('FENCED', `partition ${partitionName(ownership)} was given to another process meanwhile`);
}
