import type { FeatureEngine } from '../features/engine.ts';
import type { StateStore } from '../features/store.ts';
import type { Logger } from '../runtime/log.ts';
import { unaligned } from './alignment.ts';
import type { Surroundings } from './components.ts';
import { type JobConfig, longestKey } from './config.ts';
import { createDecoder } from './decode/decoder.ts';
import { type Ownership, partitionName } from './ports.ts';
import type { RecoveryParts } from './recovery.ts';
import { openFlusher } from './serve.ts';

/** What a backfill has done of one partition so far. */
export interface BackfilledPartition {
  readonly partition: string;
  /** Offset that it began at; undefined while it has done nothing. */
  from: number | undefined;
  /** Offset (exclusive) that is applied. */
  to: number;
  /** Transactions applied. */
  events: number;
  seconds: number;
}

export const notBegun = (partition: string, to: number): BackfilledPartition => ({
  partition,
  from: undefined,
  to,
  events: 0,
  seconds: 0,
});

export interface BackfillParts extends Pick<Surroundings, 'clock' | 'readiness'> {
  readonly config: JobConfig;
  readonly ownership: Ownership;
  readonly store: StateStore;
  readonly engine: FeatureEngine;
  readonly log: Logger;
}

/**
 * Holds one partition's state in memory while `apply` works on it; what that has applied is stored when it is done.
 * @param done what comes of it is added here.
 */
export async function withPartition(
  parts: BackfillParts,
  done: BackfilledPartition,
  signal: AbortSignal,
  apply: (recovery: RecoveryParts) => Promise<void>,
): Promise<void> {
  const { config, ownership, store, engine, log } = parts;
  const name = partitionName(ownership);
  engine.gain(name, ownership.partitions, ownership.ancestors);
  const { flusher, forget } = openFlusher(parts, signal, () => undefined);
  try {
    await apply({
      ownership,
      decoder: createDecoder(config.event, ownership.format, longestKey(config)),
      engine,
      flusher,
      alignment: unaligned,
      observer: {
        recovering(from, to, isTruncated) {
          if (isTruncated) {
            log.warn({ from }, 'the log does not reach back to the beginning of the state; windows miss what is gone');
          }
          if (done.from === undefined) log.info({ from, to }, `building state from offset ${from} to ${to}`);
          done.from ??= from;
        },
        recovered(events) {
          done.events += events;
        },
      },
      fence: () => store.fence(name),
    });
    await flusher.drain();
  } finally {
    flusher.abandon();
    engine.lose(name);
    forget();
  }
}
