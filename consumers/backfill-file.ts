import { basename } from 'node:path';
import { createHistory, historyChange } from '../features/history.ts';
import type { StateStore } from '../features/store.ts';
import { WeirError } from '../runtime/errors.ts';
import { type BackfilledPartition, notBegun, withPartition } from './backfill-partition.ts';
import type { CompiledJob } from './compile.ts';
import { openEngine, openStore, type Surroundings } from './components.ts';
import type { Decoder } from './decode/decoder.ts';
import { createFileSource } from './file/source.ts';
import { logBeginnings } from './log-beginning.ts';
import { type Ownership, partitionName, type Source } from './ports.ts';
import { rowsOf } from './published-rows.ts';
import { type RecoveryParts, replayBatch } from './recovery.ts';

export interface FileBackfillOptions extends Surroundings {
  /** JSON Lines or CSV, by its name. */
  readonly path: string;
  /** Events at or after this time are left out: the log has them. Milliseconds since the epoch. */
  readonly before: number;
  /** Aborting stores what is applied, and ends. */
  readonly signal: AbortSignal;
}

export interface FileBackfillSummary extends BackfilledPartition {
  /** Records that are no transactions by the config's `event` section. */
  readonly unreadable: number;
  /** Events that were left out, being at or after `before`. */
  readonly leftOut: number;
  /** False when it was stopped on its way. */
  readonly isWhole: boolean;
}

/**
 * Adds a file's events to the state of the job's recipe, as a partition of its own that merges with those of the log. A file that was added
 * before goes on where it ended.
 * @throws WeirError CONFIG when the file is the job's own source; INPUT when it cannot be read, or begins with
 *   nothing but records that are no transactions; STORE when not all could be stored.
 */
export async function backfillFromFile(job: CompiledJob, options: FileBackfillOptions): Promise<FileBackfillSummary> {
  const { config } = job;
  const { path, signal } = options;
  if (config.source.file && basename(config.source.file.path) === basename(path)) {
    throw new WeirError('CONFIG', `${basename(path)} is the job's own source: \`weir run\` applies it, once`);
  }
  let store: StateStore | undefined;
  let source: Source | undefined;
  try {
    source = createFileSource(
      { delimiter: config.source.file?.delimiter ?? ',', path },
      { maxEvents: config.batch.max_events, maxRecordBytes: config.event.max_bytes },
    );
    for await (const ownership of source.ownerships(signal)) {
      const until = await latestBeginning(job, options);
      store = await openStore(job, options);
      return await addFile(job, store, ownership, until, options);
    }
    throw new WeirError('INPUT', 'stopped before the file was opened');
  } finally {
    await source?.close();
    await store?.close();
  }
}

/** The time up to which the file stands for the log, whose partitions may begin some time after what the user has stated. */
async function latestBeginning(job: CompiledJob, options: FileBackfillOptions): Promise<number> {
  const { before, log } = options;
  let latest = before;
  for (const [partition, time] of await logBeginnings(job, options)) {
    if (time > before) {
      log.warn(
        { partition, begins: new Date(time).toISOString() },
        'the log begins after --before: events of the partition in between are missed, if there were any',
      );
    }
    latest = Math.max(latest, time);
  }
  return latest;
}

async function addFile(
  job: CompiledJob,
  store: StateStore,
  ownership: Ownership,
  until: number,
  options: FileBackfillOptions,
): Promise<FileBackfillSummary> {
  const { clock, log, readiness, signal, before } = options;
  const name = partitionName(ownership);
  const counts: Counts = { unreadable: 0, leftOut: 0, earliest: Number.POSITIVE_INFINITY };
  const done = notBegun(name, 0);
  let isWhole = false;
  const startedAt = clock.monotonic();
  const engine = openEngine(job, store, options);
  await withPartition(
    { config: job.config, ownership, store, engine, clock, readiness, log },
    done,
    signal,
    async (parts) => {
      const earlier = { ...parts, decoder: earlierThan(before, parts.decoder, counts) };
      isWhole = await applyToEnd(earlier, done, signal);
    },
  );
  const fence = (await store.fence(name)) ?? 0;
  if (fence < done.to) {
    throw new WeirError(
      'STORE',
      `the store has ${name} only through record ${fence} of ${done.to}: run the same again`,
    );
  }
  if (done.from !== undefined) await tellHistory(store, { ...done, isWhole }, counts.earliest, until, options);
  done.seconds = (clock.monotonic() - startedAt) / 1000;
  const { unreadable, leftOut } = counts;
  return { ...done, unreadable, leftOut, isWhole };
}

/** From now on windows that reach behind the log's beginning are whole as far back as the file goes. */
async function tellHistory(
  store: StateStore,
  { partition, to, isWhole }: Pick<FileBackfillSummary, 'partition' | 'to' | 'isWhole'>,
  earliest: number,
  until: number,
  { clock }: FileBackfillOptions,
): Promise<void> {
  const history = createHistory(store, clock, 0);
  await history.learn();
  const from = Math.min(earliest, history.of(partition)?.from ?? Number.POSITIVE_INFINITY);
  const known = { from, until: isWhole ? until : Number.NEGATIVE_INFINITY, offset: to + (isWhole ? 1 : 0) };
  await store.flush(partition, [historyChange(known)], to);
}

/** Gives whether the file's end is reached. */
async function applyToEnd(parts: RecoveryParts, done: BackfilledPartition, signal: AbortSignal): Promise<boolean> {
  const { ownership, observer } = parts;
  let at = (await parts.fence()) ?? 0;
  done.to = at;
  for (let end = Number.POSITIVE_INFINITY; at < end; ) {
    if (signal.aborted) return false;
    const raw = await ownership.read(at);
    if (raw.values.length > 0) {
      if (done.from === undefined) observer.recovering(at, raw.end, false);
      await replayBatch(parts, raw);
    }
    done.to = at = raw.next;
    end = raw.end;
  }
  return true;
}

interface Counts {
  unreadable: number;
  leftOut: number;
  /** Of the events that were not left out. */
  earliest: number;
}

/** Decodes only what happened before the time. */
function earlierThan(before: number, decoder: Decoder, counts: Counts): Decoder {
  return {
    ...decoder,
    decode(raw, at) {
      const decoded = decoder.decode(raw, at);
      const { batch, keys, deadLetters } = decoded;
      // Once added, the file would count as known: what is no history of this stream must not get that far.
      if (raw.offsets[0] === 0 && deadLetters.length === raw.values.length) {
        throw new WeirError(
          'INPUT',
          `${at.stream} is not laid out as the config's event section says: ${deadLetters[0].message}`,
        );
      }
      const kept: number[] = [];
      for (let row = 0; row < batch.count; row++) {
        if (batch.times[row] >= before) continue;
        kept.push(row);
        counts.earliest = Math.min(counts.earliest, batch.times[row]);
      }
      counts.unreadable += deadLetters.length;
      counts.leftOut += batch.count - kept.length;
      if (kept.length === batch.count) return decoded;
      return { ...decoded, batch: rowsOf(batch, kept), keys: kept.map((row) => keys[row]) };
    },
  };
}
