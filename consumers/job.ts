import type { StateStore } from '../features/store.ts';
import { describeError, WeirError } from '../runtime/errors.ts';
import { decisionNames } from '../scoring/policy.ts';
import type { Scorer } from '../scoring/scorer.ts';
import type { CompiledJob } from './compile.ts';
import { openEngine, openScorer, openSink, openSource, openStore, type Surroundings } from './components.ts';
import { observePartition } from './observe.ts';
import { serveOwnerships } from './ownerships.ts';
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
  const engine = openEngine(job, parts.store, options);
  metrics.watchEntities(() => engine.entities());
  const labelField = set.layout.fields.findIndex(({ name }) => name === config.event.label);
  const summary = createSummary(decisionNames, labelField);
  const startedAt = clock.monotonic();

  const onBatch = (batch: SummarizedBatch) => {
    summary.add(batch);
    options.onBatch?.(batch);
  };

  /** A partition's life here. */
  async function serve(ownership: Ownership, stopping: AbortSignal): Promise<ServeEnd> {
    const name = partitionName(ownership);
    const partitionLog = log.child({ stream: ownership.stream, partition: ownership.partition });
    const of = metrics.partition(ownership.stream, ownership.partition);
    const observer = observePartition({ clock, log: partitionLog, metrics, of, onBatch });
    metrics.ownedPartitions(1);
    try {
      return await servePartition(
        { ...parts, config, ownership, engine, observer, onLag: of.lag, clock, readiness, log: partitionLog },
        untilEnd,
        stopping,
      );
    } catch (error) {
      partitionLog.error({ error: describeError(error) }, `partition ${name} stopped`);
      throw error;
    } finally {
      metrics.ownedPartitions(-1);
      of.lost();
      readiness.forget(`partition ${name}`);
    }
  }

  await serveOwnerships(parts.source, options.signal, serve);
  return summary.finish((clock.monotonic() - startedAt) / 1000);
}
