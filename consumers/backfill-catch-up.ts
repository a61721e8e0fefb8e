import type { StateStore } from '../features/store.ts';
import { describeError, type ErrorCode, WeirError } from '../runtime/errors.ts';
import type { BackfillOptions } from './backfill.ts';
import { type BackfilledPartition, notBegun, withPartition } from './backfill-partition.ts';
import type { CompiledJob } from './compile.ts';
import { openEngine } from './components.ts';
import type { GroupPositions } from './kafka/group-positions.ts';
import { serveOwnerships } from './ownerships.ts';
import { type Ownership, partitionName, type Source } from './ports.ts';
import { type RecoveryParts, replayThrough } from './recovery.ts';
import { keepServed, type Progress, type ServeEnd } from './serve.ts';

export interface CatchUpParts {
  readonly job: CompiledJob;
  readonly store: StateStore;
  /** Yields the live group's partitions, as a group of its own. */
  readonly source: Source;
  /** Where the live group stands. */
  readonly positions: GroupPositions;
  /** By partition's name: what is done; filled as it goes. */
  readonly done: Map<string, BackfilledPartition>;
}

/** How often the live group is asked how far it has come. */
const pollMs = 500;

/**
 * Applies the log behind the live group, never beyond it, until all partitions are near enough or the signal aborts. Several processes
 * share the partitions; each ends when all are near, whoever reads them.
 * @returns whether all came near enough.
 */
export async function catchUp(parts: CatchUpParts, options: BackfillOptions): Promise<boolean> {
  const { job, store, source, positions, done } = parts;
  const { clock, log, readiness } = options;
  const engine = openEngine(job, store, options);
  /** Partitions owned here, and through where each has come after its last whole pass; undefined before the first. */
  const owned = new Map<number, number | undefined>();
  let hasBegun = false;
  let isCaughtUp = false;
  const finished = new AbortController();

  async function serve(ownership: Ownership, stopping: AbortSignal): Promise<ServeEnd> {
    const { stream, partition } = ownership;
    const name = partitionName(ownership);
    const partitionLog = log.child({ stream, partition });
    const parts = { config: job.config, ownership, store, engine, clock, readiness, log: partitionLog };
    const of = done.get(name) ?? notBegun(name, 0);
    done.set(name, of);
    try {
      return await keepServed(parts, stopping, async (progress) => {
        hasBegun = true;
        owned.set(partition, undefined);
        await withPartition(parts, of, stopping, (recovery) =>
          follow(recovery, { positions, of, progress, clock, passed: (at) => owned.set(partition, at) }, stopping),
        );
      });
    } finally {
      owned.delete(partition);
      readiness.forget(`partition ${name}`);
    }
  }

  /** What other processes read is judged by what they have stored. */
  async function isNear(): Promise<boolean> {
    for (const [partition, position] of await positions.now()) {
      if (position === undefined) continue;
      const name = partitionName({ stream: job.config.source.kafka!.topic, partition });
      // Not asked for a partition that is owned: its fence is what its flushes go by.
      const at = owned.has(partition) ? owned.get(partition) : ((await store.fence(name)) ?? 0);
      if (at === undefined || position - at > options.within) return false;
    }
    return true;
  }

  async function watch(): Promise<void> {
    while (!finished.signal.aborted && !options.signal.aborted) {
      await clock.sleep(pollMs, AbortSignal.any([finished.signal, options.signal]));
      // Before it has any partition it knows only that others may be near.
      if (!hasBegun || isCaughtUp || !(await isNear().catch(passingFault))) continue;
      isCaughtUp = true;
      if (options.follow) log.info({ within: options.within }, 'caught up with the live group; following it');
      else finished.abort();
    }
  }

  /** The partitions wait for what is away, so this does. */
  function passingFault(error: unknown): false {
    if (!(error instanceof WeirError && passing.has(error.code))) throw error;
    log.warn({ error: describeError(error) }, 'how far the partitions are from the live group cannot be told now');
    return false;
  }

  const serving = serveOwnerships(source, AbortSignal.any([options.signal, finished.signal]), serve);
  await Promise.all([serving, watch()].map((work) => work.finally(() => finished.abort())));
  return isCaughtUp;
}

const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['BROKER', 'STORE', 'INPUT']);

interface Following {
  readonly positions: GroupPositions;
  readonly of: BackfilledPartition;
  readonly progress: Progress;
  readonly clock: BackfillOptions['clock'];
  /** All through the offset is applied, and it was the group's position. */
  passed(at: number): void;
}

/** One partition, pass after pass, from the fence to wherever the group is by then. */
async function follow(
  parts: RecoveryParts,
  { positions, of, progress, clock, passed }: Following,
  signal: AbortSignal,
): Promise<void> {
  const { ownership, flusher, observer } = parts;
  const isLeft = () => signal.aborted || ownership.revoked.aborted;
  const fence = (await parts.fence()) ?? 0;
  let at = Math.max(fence, (await ownership.range()).earliest);
  if (at > fence) parts.engine.truncated(partitionName(ownership), at);
  let stored = Number.NaN;
  for (let isFirst = true; !isLeft(); isFirst = false) {
    const position = (await positions.now()).get(ownership.partition) ?? 0;
    if (position > at) {
      observer.recovering(at, position, isFirst && at > fence);
      const startedAt = clock.monotonic();
      at = await replayThrough(parts, at, position, isLeft);
      of.seconds += (clock.monotonic() - startedAt) / 1000;
      of.to = Math.max(of.to, at);
      progress.batches++;
    }
    if (isLeft()) return;
    // So that a partition that nothing comes to has its fence: without one, `weir run` would begin at the log's start.
    if (position !== stored) await flusher.published(position);
    stored = position;
    passed(at);
    if (at >= position) await clock.sleep(pollMs, AbortSignal.any([signal, ownership.revoked]));
  }
}
