import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { Metrics, PartitionMetrics } from '../runtime/metrics.ts';
import { decisionNames } from '../scoring/policy.ts';
import type { PartitionObserver, Stage } from './partition.ts';
import type { SummarizedBatch } from './summary.ts';

export interface ObserveOptions {
  readonly clock: Clock;
  readonly of: PartitionMetrics;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly onBatch: (batch: SummarizedBatch) => void;
}

/** Turns what happens to a partition into metrics, logs and the run's summary. */
export function observePartition({ clock, log, metrics, of, onBatch }: ObserveOptions): PartitionObserver {
  let isRecovering = false;
  let readAt = 0;
  let position = 0;
  /** What was lost before this offset is counted. */
  let lostThrough = Number.NEGATIVE_INFINITY;
  const decisionCounts = new Array<number>(decisionNames.length).fill(0);

  function stage<T>(name: Stage, work: () => T): T {
    const startedAt = clock.monotonic();
    const done = () => {
      const now = clock.monotonic();
      if (name === 'read') readAt = now;
      else metrics.stage(name, (now - startedAt) / 1000);
    };
    const result = work();
    if (result instanceof Promise) {
      return result.then((value) => {
        done();
        return value;
      }) as T;
    }
    done();
    return result;
  }

  return {
    stage,
    recovering(from, to, isTruncated) {
      isRecovering = true;
      log.info({ from, to }, `recovering state: re-applying the log from offset ${from} to ${to}, publishing nothing`);
      if (isTruncated)
        log.warn(
          { from },
          'the log no longer reaches back to the fence; windows that reach further back miss what is gone',
        );
    },
    recovered: (events) => metrics.recovered(events),
    restored() {
      if (isRecovering) log.info({}, 'the state is recovered: scoring goes on');
      isRecovering = false;
    },
    lost(begin, to) {
      const from = Math.max(begin, lostThrough);
      if (to <= from) return;
      lostThrough = to;
      of.lostRecords(to - from, clock.now());
      log.warn(
        { from, to },
        'records were deleted at the broker before they were read (retention is too short, or the job was away too long); windows that reach further back are incomplete until they have filled',
      );
    },
    skewed: of.skew,
    held: of.held,
    flushed(fence, seconds) {
      metrics.stage('flush', seconds);
      of.fenceLag(Math.max(0, position - fence));
    },
    degraded: (isDegraded) => metrics.degradedPartitions(isDegraded ? 1 : -1),
    published({ raw, decoded, applied: { late, repeats, short, historyFrom }, scored, isDegraded }) {
      const { batch, deadLetters } = decoded;
      position = raw.next;
      const latencyMs = clock.monotonic() - readAt;
      of.consumed(raw.values.length);
      of.published(batch.count);
      metrics.batch(batch.count, latencyMs / 1000);
      if (isDegraded) metrics.degraded(batch.count);
      metrics.late(late);
      metrics.repeated(repeats);
      of.shortHistory(short, historyFrom);
      decisionCounts.fill(0);
      for (let row = 0; row < batch.count; row++) decisionCounts[scored.decisions[row]]++;
      metrics.decided(decisionNames, decisionCounts);
      for (const { reason } of deadLetters) metrics.deadLetter(reason);
      const now = clock.now();
      for (const timestamp of raw.timestamps)
        if (!Number.isNaN(timestamp)) metrics.eventToPublished((now - timestamp) / 1000);
      onBatch({
        batch,
        records: raw.values.length,
        deadLetters: deadLetters.length,
        late,
        repeats,
        probabilities: scored.probabilities,
        decisions: scored.decisions,
        events: scored.events,
        latencyMs,
      });
      for (const letter of deadLetters.slice(0, 1)) {
        log.warn(
          { offset: letter.offset, reason: letter.reason, count: deadLetters.length },
          `dead letter: ${letter.message}`,
        );
      }
    },
  };
}
