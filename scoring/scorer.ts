import type { TransactionBatch } from '../features/columns.ts';
import type { FeatureSet } from '../features/plan.ts';
import type { FeatureRows } from '../features/rows.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Model } from './model.ts';
import type { CompiledPolicy } from './policy.ts';

export interface ScorerOptions {
  readonly model: Model;
  readonly set: FeatureSet;
  readonly policy: CompiledPolicy;
  /** Gives `scored_at`. */
  readonly clock: Clock;
  /** live: events as they happen; replay: a recorded stream, e.g. from a file. */
  readonly mode: 'live' | 'replay';
  /** Undefined when no entity is tokenised. */
  readonly tokenise: TokeniseOptions | undefined;
}

export interface TokeniseOptions {
  /** `event.token_key`. */
  readonly secret: string;
  /** Names of the entities whose ids are replaced in outputs. */
  readonly entities: readonly string[];
  /** `event.key`: when it is one of them, the output's record key is its token. */
  readonly keyEntity: string | undefined;
}

/** Feature rows in, risk events out. */
export interface Scorer {
  /** Number of features. */
  readonly width: number;
  decide(
    batch: TransactionBatch,
    rows: FeatureRows,
    at: { readonly stream: string; readonly partition: number },
  ): Promise<ScoredBatch>;
  close(): Promise<void>;
}

/** Row i of each belongs to row i of the batch. */
export interface ScoredBatch {
  /** As the model answered. */
  readonly probabilities: Float32Array;
  /** Indexes into `decisionNames`. */
  readonly decisions: Uint8Array;
  readonly events: readonly ScoredEvent[];
}

/** A risk event as a CloudEvent without its key. */
export interface ScoredEvent {
  /** Takes the place of the source record's key; null for none. */
  readonly key?: Buffer | null;
  readonly id: string;
  readonly time: string;
  readonly data: Buffer;
}

export function createScorer(_options: ScorerOptions): Scorer {
  throw new Error('under way');
}
