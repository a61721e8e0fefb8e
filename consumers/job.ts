import { createFeatureEngine } from '../features/engine.ts';
import type { FeatureSet } from '../features/plan.ts';
import type { StateStore } from '../features/store.ts';
import type { Clock } from '../runtime/clock.ts';
import { describeError, WeirError } from '../runtime/errors.ts';
import type { Readiness } from '../runtime/http.ts';
import type { Logger } from '../runtime/log.ts';
import type { Metrics } from '../runtime/metrics.ts';
import { decisionNames } from '../scoring/policy.ts';
import type { Scorer } from '../scoring/scorer.ts';
import { compileJob, openScorer, openSink, openSource, openStore } from './components.ts';
import type { JobConfig } from './config.ts';
import { observePartition } from './observe.ts';
import { type Ownership, partitionName, type Sink, type Source } from './ports.ts';
import { servePartition } from './serve.ts';
import { createSummary, type JobSummary, type SummarizedBatch } from './summary.ts';

export interface JobOptions {
  /** Stop at the input's present end instead of waiting for more. */
  readonly untilEnd: boolean;
  /** Aborting drains: the batch under way is finished, published and flushed. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  /** Called after each published batch. */
  readonly onBatch?: (batch: SummarizedBatch) => void;
}

/** What a running job is made of. */
export interface JobParts {
  readonly config: JobConfig;
  readonly set: FeatureSet;
  readonly store: StateStore;
  readonly scorer: Scorer;
  readonly source: Source;
  readonly sink: Sink;
}

/**
 * Runs a job until the signal aborts, the input ends, or something fails that a person must mend.
 * @throws WeirError with the cause's code; whatever was not published is read again by the next run.
 */
export async function runJob(config: JobConfig, options: JobOptions): Promise<JobSummary> {
  const { set, layout } = compileJob(config);
  const closers: (() => Promise<void>)[] = [];
  const opened = async <T extends { close(): Promise<void> }>(part: Promise<T>): Promise<T> => {
    const ready = await part;
    closers.unshift(() => ready.close());
    return ready;
  };
  try {
    const scorer = await opened(openScorer(config, set));
    const store = await opened(openStore(config, set, options));
    const sink = await opened(openSink(config, options));
    const source = await opened(openSource(config, options));
    return await runPartitions(
      { config, set, store, scorer, source, sink },
      options,
      createSummary(decisionNames, labelField(config, layout.fields)),
    );
  } finally {
    for (const close of closers)
      await close().catch((error: unknown) => options.log.warn({ error: describeError(error) }, 'closing failed'));
  }
}

function labelField(config: JobConfig, fields: readonly { name: string }[]): number {
  return config.event.label === undefined ? -1 : fields.findIndex(({ name }) => name === config.event.label);
}

async function runPartitions(
  parts: JobParts,
  options: JobOptions,
  summary: ReturnType<typeof createSummary>,
): Promise<JobSummary> {
  const { config, set, store } = parts;
  const { clock, log, metrics, readiness } = options;
  const engine = createFeatureEngine({
    set,
    store,
    clock,
    cacheEntities: config.state.cache_entities,
    refreshMs: config.state.refresh_ms,
    keyEntity: config.event.key,
    onLookups: (hits, misses) => metrics.cacheLookups(hits, misses),
  });
  // One partition's fatal fault stops them all; the others finish their batches first.
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  options.signal.addEventListener('abort', stop, { once: true });
  if (options.signal.aborted) stop();
  const startedAt = clock.monotonic();
  const running = new Set<Promise<void>>();
  let fatal: unknown;

  const serve = async (ownership: Ownership) => {
    const name = partitionName(ownership);
    const partitionLog = log.child({ stream: ownership.stream, partition: ownership.partition });
    const observer = observePartition(ownership, { clock, log: partitionLog, metrics, onBatch: (batch) => add(batch) });
    const add = (batch: SummarizedBatch) => {
      summary.add(batch);
      options.onBatch?.(batch);
    };
    metrics.ownedPartitions(1);
    try {
      await servePartition(
        { ...parts, ownership, engine, observer, clock, readiness, log: partitionLog },
        options.untilEnd,
        stopping.signal,
      );
    } catch (error) {
      fatal ??= error;
      partitionLog.error({ error: describeError(error) }, `partition ${name} stopped`);
      stop();
    } finally {
      metrics.ownedPartitions(-1);
      await ownership.release();
    }
  };

  readiness.setReady('source', true, '');
  for await (const ownership of parts.source.ownerships(stopping.signal)) {
    const serving: Promise<void> = serve(ownership).finally(() => running.delete(serving));
    running.add(serving);
    if (stopping.signal.aborted) break;
  }
  await Promise.all(running);
  options.signal.removeEventListener('abort', stop);
  if (fatal !== undefined) throw fatal instanceof Error ? fatal : new WeirError('INTERNAL', describeError(fatal));
  return summary.finish((clock.monotonic() - startedAt) / 1000);
}
