import type { EventLayout } from './columns.ts';
import type { Predicate } from './predicate.ts';
import type { FeatureIdentity } from './rows.ts';

/**
 * What the config's features compile to: which facts of each event an entity retains, how retained rows are laid out, and how each
 * feature is read from them. Pure data; evaluate.ts interprets it.
 */
export interface FeatureSet extends FeatureIdentity {
  readonly layout: EventLayout;
  /** Names the retained state (12 hex of a sha256): states of different recipes are never mixed. */
  readonly recipe: string;
  /** Features of the event alone. */
  readonly eventFeatures: readonly EventFeature[];
  /** Boolean columns computed once per batch; entity plans refer to them by index. */
  readonly predicates: readonly Predicate[];
  /** Text fields (indexes of the layout) whose hashes are computed once per batch. */
  readonly hashedFields: readonly number[];
  readonly entities: readonly EntityPlan[];
  /** Longest delay + window of any feature, milliseconds. */
  readonly horizonMs: number;
}

export type EventFeature =
  | { readonly column: number; readonly source: 'field'; readonly field: number; readonly divisor: number }
  | { readonly column: number; readonly source: 'is-weekend' | 'is-night' };

/**
 * Retained rows are flat numbers, `stride` per event:
 * [time, mask, number facts..., hash facts..., cumulative columns...].
 * mask holds one bit per predicate of the plan. Cumulative columns are inclusive prefix sums from the row before the first one
 * on, so that any window is the difference of two rows.
 */
export interface EntityPlan {
  /** Index into the layout's entities. */
  readonly entity: number;
  readonly type: string;
  /** Longest delay + window of the entity's features, milliseconds. */
  readonly horizonMs: number;
  /** Horizon + allowed lateness: events younger than this, against the sub-state's newest, are kept and may still be inserted. */
  readonly retentionMs: number;
  readonly stride: number;
  /** Predicate indexes; bit k of the mask is predicate predicates[k]. */
  readonly predicates: readonly number[];
  /** Field indexes whose numbers are retained, at row position 2 + k. */
  readonly numbers: readonly number[];
  /** Field indexes whose text hashes are retained, at row position 2 + numbers.length + k. */
  readonly hashes: readonly number[];
  readonly cumulatives: readonly Cumulative[];
  /** Distinct distances back from the event time that windows begin or end at, milliseconds, ascending. */
  readonly bounds: readonly number[];
  readonly spans: readonly Span[];
  readonly readings: readonly Reading[];
  readonly scans: readonly Scan[];
  readonly features: readonly WindowFeature[];
}

/** One cumulative column (two for squares: high and low limb of base 2^48). */
export interface Cumulative {
  readonly kind: 'count' | 'sum' | 'square';
  /** Row position of the (first) column. */
  readonly at: number;
  /** Row position of the number fact; -1 for counts. */
  readonly numberAt: number;
  /** Bit of the mask that must be set; 0 for every event. */
  readonly bit: number;
}

/** A window: rows after bounds[from] up to and including bounds[to]. */
export interface Span {
  readonly from: number;
  readonly to: number;
  readonly excludeCurrent: boolean;
  readonly widthMs: number;
}

/** A number that is read from every sub-state as a difference of two rows, and added up. */
export interface Reading {
  readonly span: number;
  /** Row position of a cumulative column, or -1 for the number of rows. */
  readonly at: number;
}

/** A number that needs a walk over the window's rows. */
export interface Scan {
  readonly span: number;
  readonly kind: 'min' | 'max' | 'last-time' | 'seen';
  /** Row position of the fact; -1 for last-time. */
  readonly at: number;
  readonly bit: number;
  /** For seen: the field whose hash is looked for; else -1. */
  readonly field: number;
}

export type WindowFeature = { readonly column: number; readonly span: number } & (
  | { readonly op: 'count'; readonly count: number }
  | { readonly op: 'sum'; readonly sum: number; readonly count: number; readonly divisor: number }
  | { readonly op: 'mean'; readonly sum: number; readonly count: number; readonly divisor: number }
  | {
      readonly op: 'stddev';
      readonly sum: number;
      readonly squareHigh: number;
      readonly squareLow: number;
      readonly count: number;
      readonly divisor: number;
    }
  | { readonly op: 'ratio'; readonly part: number; readonly count: number }
  | { readonly op: 'extreme'; readonly scan: number; readonly count: number; readonly divisor: number }
  | { readonly op: 'time-since-last'; readonly scan: number }
  | { readonly op: 'is-new'; readonly scan: number }
);
