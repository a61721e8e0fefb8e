import { createFeatureEngine } from '../features/engine.ts';
import type { StateStore } from '../features/store.ts';
import { describeError, WeirError } from '../runtime/errors.ts';
import { decisionNames } from '../scoring/policy.ts';
import type { Scorer } from '../scoring/scorer.ts';
import type { CompiledJob } from './compile.ts';
import { openScorer, openSink, openSource, openStore, type Surroundings } from './components.ts';
import { observePartition } from './observe.ts';
import { type Ownership, partitionName, type Sink, type Source } from './ports.ts';
import { type ServeEnd, servePartition } from './serve.ts';
import { createSummary, type JobSummary, type SummarizedBatch } from './summary.ts';

export interface JobOptions extends Surroundings {
  /** Stop at the input's present end instead of waiting for more. A file always ends. */
  readonly untilEnd: boolean;
  /** Aborting drains: the batch under way is finished, published and flushed. */
  readonly signal: AbortSignal;
  /** Called after each published batch. */
  readonly onBatch?: (batch: SummarizedBatch) => void;
}

/** What a running job is made of. */
export interface JobParts {
  readonly store: StateStore;
  readonly scorer: Scorer;
  readonly source: Source;
  readonly sink: Sink;
}

/**
 * Runs a job until the signal aborts, the input ends, or something fails that a person must mend.
 * @throws WeirError with the cause's code; whatever was not published is read again by the next run. STORE also when all is published
 *   but the last of the state could not be stored.
 */
export async function runJob(job: CompiledJob, options: JobOptions): Promise<JobSummary> {
  const closers: (() => Promise<void>)[] = [];
  const opened = async <T extends { close(): Promise<void> }>(part: Promise<T>): Promise<T> => {
    const ready = await part;
    closers.unshift(() => ready.close());
    return ready;
  };
  let unclosed: WeirError | undefined;
  const closed = async (close: () => Promise<void>) => {
    await close().catch((error: unknown) => {
      if (error instanceof WeirError) unclosed ??= error;
      options.log.warn({ error: describeError(error) }, 'closing failed');
    });
  };
  let summary: JobSummary;
  try {
    const scorer = await opened(openScorer(job, options));
    const store = await opened(openStore(job, options));
    options.readiness.setReady('store', true, '');
    const sink = await opened(openSink(job, options));
    const source = await opened(openSource(job, options));
    summary = await runParts(job, { store, scorer, source, sink }, options);
  } finally {
    for (const close of closers) await closed(close);
  }
  if (unclosed !== undefined) throw unclosed;
  return summary;
}

/** As `runJob`, over parts that the caller has opened and will close. */
export async function runParts(job: CompiledJob, parts: JobParts, options: JobOptions): Promise<JobSummary> {
  const { config, set } = job;
  const { clock, log, metrics, readiness } = options;
  const untilEnd = options.untilEnd || config.source.file !== undefined;
  const engine = createFeatureEngine({
    set,
    store: parts.store,
    clock,
    cacheEntities: config.state.cache_entities,
    refreshMs: config.state.refresh_ms,
    keyEntity: config.event.key,
    onLookups: (hits, misses) => metrics.cacheLookups(hits, misses),
    onDamaged(error) {
      metrics.damaged();
      log.error({ error: describeError(error) }, 'a damaged state was discarded; its partition re-applies its log');
    },
  });
  metrics.watchEntities(() => engine.entities());
  const labelField = set.layout.fields.findIndex(({ name }) => name === config.event.label);
  const summary = createSummary(decisionNames, labelField);
  const stopping = linkedAbort(options.signal);
  const startedAt = clock.monotonic();
  /** The last service of each partition by name; its successor, after a rebalance, waits until it has ended. */
  const services = new Map<string, Promise<void>>();
  /** What is owned, and whether its end was reached. */
  const held = new Map<Ownership, boolean>();
  let fatal: unknown;

  const onBatch = (batch: SummarizedBatch) => {
    summary.add(batch);
    options.onBatch?.(batch);
  };

  /** One part's fatal fault stops them all; the partitions finish their batches first. */
  const stopBy = (error: unknown) => {
    fatal ??= error;
    stopping.abort();
  };

  /** A partition's life here. Never rejects: its successor waits for it. */
  async function serve(ownership: Ownership, name: string): Promise<void> {
    const partitionLog = log.child({ stream: ownership.stream, partition: ownership.partition });
    const of = metrics.partition(ownership.stream, ownership.partition);
    const observer = observePartition({ clock, log: partitionLog, metrics, of, onBatch });
    let end: ServeEnd = 'stopped';
    metrics.ownedPartitions(1);
    try {
      end = await servePartition(
        { ...parts, config, ownership, engine, observer, onLag: of.lag, clock, readiness, log: partitionLog },
        untilEnd,
        stopping.signal,
      );
    } catch (error) {
      partitionLog.error({ error: describeError(error) }, `partition ${name} stopped`);
      stopBy(error);
    } finally {
      metrics.ownedPartitions(-1);
      of.lost();
      readiness.forget(`partition ${name}`);
    }
    // What was read to its end stays owned until all is: given back, it would only be read by somebody else.
    if (end === 'ended') held.set(ownership, true);
    else await ownership.release().catch(stopBy);
    stopAtEnd();
  }

  /** Nothing that is owned has anything left to read. What a rebalance took away comes back or goes to somebody else. */
  function stopAtEnd(): void {
    for (const ownership of held.keys()) if (ownership.revoked.aborted) held.delete(ownership);
    if (held.size > 0 && [...held.values()].every((hasEnded) => hasEnded)) stopping.abort();
  }

  try {
    for await (const ownership of parts.source.ownerships(stopping.signal)) {
      const name = partitionName(ownership);
      held.set(ownership, false);
      const former = services.get(name) ?? Promise.resolve();
      services.set(
        name,
        former.then(() => serve(ownership, name)),
      );
      if (stopping.signal.aborted) break;
    }
  } catch (error) {
    stopBy(error);
  }
  await Promise.all(services.values());
  stopping.unlink();
  if (fatal !== undefined) throw fatal instanceof Error ? fatal : new WeirError('INTERNAL', describeError(fatal));
  return summary.finish((clock.monotonic() - startedAt) / 1000);
}

/** Aborts with the signal, or by itself. */
function linkedAbort(signal: AbortSignal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return { signal: controller.signal, abort, unlink: () => signal.removeEventListener('abort', abort) };
}
