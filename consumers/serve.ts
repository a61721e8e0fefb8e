import type { FeatureEngine } from '../features/engine.ts';
import { createFlusher, type Flusher } from '../features/flusher.ts';
import type { StateStore } from '../features/store.ts';
import { createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { describeError, type ErrorCode, WeirError } from '../runtime/errors.ts';
import type { Readiness } from '../runtime/http.ts';
import type { Logger } from '../runtime/log.ts';
import type { Scorer } from '../scoring/scorer.ts';
import { createAlignment } from './alignment.ts';
import { type JobConfig, longestKey } from './config.ts';
import { createDecoder } from './decode/decoder.ts';
import { type LagWatch, watchLag } from './lag.ts';
import { type PartitionObserver, runPartition } from './partition.ts';
import { type Ownership, partitionName, type Sink } from './ports.ts';

export interface ServeParts {
  readonly config: JobConfig;
  readonly ownership: Ownership;
  readonly engine: FeatureEngine;
  readonly store: StateStore;
  readonly scorer: Scorer;
  readonly sink: Sink;
  readonly observer: PartitionObserver;
  /** Told how many records the partition is behind its log's end. */
  readonly onLag: (records: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly readiness: Readiness;
}

/** How it ended: `ended` reached the log's end as asked for, `revoked` went to somebody else, `stopped` was told to, or another process waits for it. */
export type ServeEnd = 'ended' | 'revoked' | 'stopped';

const firstWaitMs = 500;
/** What was away comes back at any moment, and then the partition is to go on soon. */
const longestWaitMs = 2_000;

/**
 * Keeps one partition served: whenever a broker or store fails, everything held in memory for the partition is dropped and the loop
 * begins again from the committed position, as a new owner would. Faults that a person must mend are thrown.
 */
export async function servePartition(parts: ServeParts, untilEnd: boolean, signal: AbortSignal): Promise<ServeEnd> {
  const { ownership, engine } = parts;
  const name = partitionName(ownership);
  // Until it is recovered, whenever it pauses, and once it is another process's that writes what is still held of it here, the others
  // read less of shared entities than is committed.
  const fallBehind = () => engine.recovering(name, true);
  const leaving = leavingSignal(ownership, signal);
  fallBehind();
  ownership.revoked.addEventListener('abort', fallBehind);
  const watch = watchLag(parts.clock, parts.onLag);
  try {
    return await keepServed(parts, signal, (progress) => serveOnce(parts, watch, untilEnd, leaving, progress));
  } finally {
    watch.stop();
    ownership.revoked.removeEventListener('abort', fallBehind);
    engine.recovering(name, false);
  }
}

/** Tells a loop that got somewhere from one that fails at once. */
export interface Progress {
  batches: number;
  /** What ended the time before; undefined the first time. */
  readonly fault: string | undefined;
}

/** Runs `serveOnce` again and again, with growing waits, while what ends it is a fault that passes. */
export async function keepServed(
  parts: Pick<ServeParts, 'config' | 'ownership' | 'engine' | 'clock' | 'log' | 'readiness'>,
  signal: AbortSignal,
  serveOnce: (progress: Progress) => Promise<void>,
): Promise<ServeEnd> {
  const { ownership, engine, clock, log, readiness } = parts;
  const name = partitionName(ownership);
  const component = `partition ${name}`;
  const backoff = createBackoff(firstWaitMs, longestWaitMs);
  const leaving = leavingSignal(ownership, signal);
  let fault: string | undefined;
  for (;;) {
    // Opening the output fences whoever has the partition now: that must never be done by a former owner.
    if (ownership.revoked.aborted) return 'revoked';
    const progress = { batches: 0, fault };
    try {
      await serveOnce(progress);
      if (ownership.revoked.aborted) return 'revoked';
      return leaving.aborted ? 'stopped' : 'ended';
    } catch (error) {
      if (ownership.revoked.aborted) {
        log.info(
          { error: describeError(error) },
          'the partition is not owned any more: the group rebalances, or its brokers are lost',
        );
        return 'revoked';
      }
      if (!isPassing(error, parts.config) || signal.aborted) throw error;
      // Who waits for it begins where this one begins again.
      if (leaving.aborted) return 'stopped';
      engine.recovering(name, true);
      if (progress.batches > 0) backoff.reset();
      const waitMs = backoff.next();
      fault = describeError(error);
      readiness.setReady(component, false, fault);
      log.warn(
        { error: fault, retry_in_ms: waitMs },
        'the partition pauses; nothing is lost, it goes on from the committed position',
      );
      await clock.sleep(waitMs, AbortSignal.any([leaving, ownership.revoked]));
    }
    // A group that rebalances may be giving the partition to somebody else right now.
    await confirmedOrStopped(ownership, leaving);
    if (leaving.aborted) return 'stopped';
  }
}

/** Aborts when the partition is to be left. */
function leavingSignal({ recalled }: Ownership, signal: AbortSignal): AbortSignal {
  return recalled === undefined ? signal : AbortSignal.any([signal, recalled]);
}

async function confirmedOrStopped({ confirmed }: Ownership, signal: AbortSignal): Promise<void> {
  if (confirmed === undefined || signal.aborted) return;
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  signal.addEventListener('abort', stop, { once: true });
  await Promise.race([confirmed(), stopped]);
  signal.removeEventListener('abort', stop);
}

const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['BROKER', 'STORE', 'MODEL', 'INPUT', 'FENCED']);

/**
 * Causes that end by themselves or by somebody's hand outside: the partition waits and begins again from what is committed. FENCED is
 * one while the group still says that the partition is ours: either the word that it is not is on its way, or a former owner that had
 * been paused got in between and knows better by now. A file that cannot be read, or a model that fails on it, is not: whoever named it waits for the answer.
 */
function isPassing(error: unknown, { source }: JobConfig): boolean {
  const code = error instanceof WeirError ? error.code : 'INTERNAL';
  return passing.has(code) && !((code === 'INPUT' || code === 'MODEL') && source.file !== undefined);
}

async function serveOnce(
  parts: ServeParts,
  watch: LagWatch,
  untilEnd: boolean,
  signal: AbortSignal,
  progress: Progress,
): Promise<void> {
  const { config, engine, store, scorer, sink, observer, log, readiness } = parts;
  const ownership = watch.ownership(parts.ownership);
  const name = partitionName(ownership);
  const output = watch.output(await sink.open(parts.ownership));
  engine.gain(name, ownership.partitions, ownership.ancestors);
  const onFlushed = (fence: number, seconds: number) => {
    ownership.stored?.(fence);
    observer.flushed(fence, seconds);
  };
  const { flusher, forget } = openFlusher(parts, signal, onFlushed, output.sync, degradation(parts));
  const component = `partition ${name}`;
  /** Where it failed the last time it may fail again, so that its state is recovered says little. */
  let isDoubted = progress.fault !== undefined;
  const works = () => {
    if (isDoubted) readiness.setReady(component, true, '');
    isDoubted = false;
  };
  const counted: PartitionObserver = {
    ...observer,
    recovering: (from, to, isTruncated) => {
      readiness.setReady(component, false, `recovering state: re-applying the log from offset ${from} to ${to}`);
      observer.recovering(from, to, isTruncated);
    },
    restored: () => {
      readiness.setReady(component, !isDoubted, progress.fault ?? '');
      observer.restored();
    },
    held: (seconds) => {
      works();
      observer.held(seconds);
    },
    published: (batch) => {
      works();
      progress.batches++;
      watch.published(batch.raw.next);
      observer.published(batch);
    },
  };
  try {
    const decoder = createDecoder(config.event, ownership.format, longestKey(config));
    const start = config.source.kafka?.start ?? 'earliest';
    readiness.setDegraded(component, undefined);
    const alignment = createAlignment({
      config: config.alignment,
      allowedLatenessMs: config.event.time.allowed_lateness_ms,
      flushIntervalMs: config.state.flush_interval_ms,
      ownership,
      engine,
      flusher,
      clock: parts.clock,
      observer: counted,
      leaving: AbortSignal.any([signal, ownership.revoked]),
    });
    const ended = () => {
      works();
      alignment.ended();
    };
    const fence = () => store.fence(name);
    await runPartition(
      {
        ownership,
        output,
        decoder,
        engine,
        scorer,
        flusher,
        alignment: { ...alignment, ended },
        observer: counted,
        start,
        fence,
      },
      untilEnd,
      signal,
    );
    await output.sync?.();
    await flusher.drain();
  } finally {
    flusher.abandon();
    engine.lose(name);
    forget();
    if (flusher.isDegraded) observer.degraded(false);
    await output
      .close()
      .catch((error: unknown) => log.warn({ error: describeError(error) }, 'closing the output failed'));
  }
}

/** What follows from going on without the store; undefined where that is not wanted. */
function degradation({ config, ownership, engine, observer, log, readiness }: ServeParts) {
  if (config.state.when_away !== 'degrade') return undefined;
  const name = partitionName(ownership);
  return (error: WeirError) => {
    engine.cutOff(name);
    engine.recovering(name, true);
    observer.degraded(true);
    readiness.setDegraded(`partition ${name}`, describeError(error));
    log.warn(
      { error: describeError(error) },
      'the partition goes on with what is in memory, and marks what it misses, until the store is back',
    );
  };
}

/** The partition's flusher, which says in log and readiness when the store refuses. */
export function openFlusher(
  parts: Pick<ServeParts, 'config' | 'ownership' | 'engine' | 'store' | 'clock' | 'log' | 'readiness'>,
  signal: AbortSignal,
  onFlushed: (fence: number, seconds: number) => void,
  beforeFlush?: () => Promise<void>,
  onDegraded?: (error: WeirError) => void,
): {
  readonly flusher: Flusher /** Nobody here waits for the store any more on behalf of this partition. */;
  forget(): void;
} {
  const { config, ownership, engine, store, clock, log, readiness } = parts;
  const partition = partitionName(ownership);
  const stateOf = `state of partition ${partition}`;
  const leaving = AbortSignal.any([signal, ownership.revoked]);
  const flusher = createFlusher({
    engine,
    store,
    partition,
    clock,
    intervalMs: config.state.flush_interval_ms,
    beforeFlush,
    onDegraded,
    onFlushed: (fence, seconds) => {
      onFlushed(fence, seconds);
      readiness.setReady(stateOf, true, '');
    },
    onTrouble: (error) => {
      readiness.setReady(stateOf, false, describeError(error));
      log.warn(
        { error: describeError(error) },
        'state cannot be stored; the partition waits until the write has been repeated, or begins again',
      );
    },
    wait: (ms) => clock.sleep(ms, leaving),
  });
  return { flusher, forget: () => readiness.forget(stateOf) };
}
