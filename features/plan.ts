import type { Compute } from './aggregates/aggregate.ts';
import type { EventLayout } from './columns.ts';
import type { FeatureSource } from './describe.ts';
import type { Predicate } from './predicate.ts';
import type { RepeatPlan } from './repeats.ts';
import type { FeatureIdentity } from './rows.ts';

/**
 * What the config's features compile to: which facts of each event an entity retains, how retained rows are laid out, and how each
 * feature is read from them. evaluate.ts interprets it.
 */
export interface FeatureSet extends FeatureIdentity {
  /** Where each feature comes from, in column order. */
  readonly sources: readonly FeatureSource[];
  readonly layout: EventLayout;
  /** Names the retained state (12 hex of a sha256): states of different recipes are never mixed. */
  readonly recipe: string;
  /** Features of the event alone. */
  readonly eventFeatures: readonly EventFeature[];
  /** Boolean columns computed once per batch; entity plans refer to them by index. */
  readonly predicates: readonly Predicate[];
  /** Text fields (indexes of the layout) whose hashes are computed once per batch. */
  readonly hashedFields: readonly number[];
  /** Whether some entity retains hashes of the transaction ids. */
  readonly hashesIds: boolean;
  readonly entities: readonly EntityPlan[];
  /** What is remembered of transaction ids; undefined where repetitions are not looked for. */
  readonly repeats: RepeatPlan | undefined;
  /** Features over other features, each after those that it reads. */
  readonly derived: readonly DerivedFeature[];
  /** Longest delay + window of any feature, milliseconds; windows without end left out. */
  readonly horizonMs: number;
}

/** How late events may come that are still applied at their own time, milliseconds. */
export function latenessOf({ entities }: FeatureSet): number {
  return Math.max(0, ...entities.map((plan) => plan.retentionMs - plan.horizonMs - plan.leadMs));
}

export type EventFeature =
  | { readonly column: number; readonly source: 'field'; readonly field: number; readonly divisor: number }
  | { readonly column: number; readonly source: 'is-weekend' | 'is-night' };

export interface DerivedFeature {
  readonly column: number;
  /** Columns that it reads. */
  readonly uses: readonly number[];
  /** NaN where it has no value, such as 0 / 0. */
  evaluate(read: (column: number) => number): number;
}

/** A retained number: a field's, or a place packed from two fields (see geography.ts). */
export interface NumberFact {
  readonly field: number;
  /** The longitude's field where the fact is a place; else -1. */
  readonly longitude: number;
}

/** Stands for the transaction id where a field's index is wanted. */
export const idField = -1;

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
  /** Longest delay + window of the entity's features, milliseconds; windows without end left out. */
  readonly horizonMs: number;
  /**
   * How far ahead of another partition a sub-state may be and still hold all that the other's delayed windows read: the shortest delay, at
   * most a week; 0 where nothing is delayed. Milliseconds.
   */
  readonly leadMs: number;
  /** Horizon + allowed lateness + lead: events younger than this, against the sub-state's newest, are kept and may still be inserted. */
  readonly retentionMs: number;
  /** Totals without end begin anew after so long without an event. Infinity when there are no such totals. */
  readonly idleMs: number;
  /** At least so many of the newest events are kept one by one; older ones may be folded into panes. */
  readonly exactEvents: number;
  readonly stride: number;
  /** Predicate indexes; bit k of the mask is predicate predicates[k]. */
  readonly predicates: readonly number[];
  /** Row position 2 + k. */
  readonly numbers: readonly NumberFact[];
  /** Fields (or idField) whose text hashes are retained, at row position 2 + numbers.length + k. */
  readonly hashes: readonly number[];
  readonly cumulatives: readonly Cumulative[];
  /** What panes, and what is dropped, keep of the facts that walks look at. */
  readonly summaries: readonly SummarySpec[];
  /** Says what stored panes hold: those of another layout are not read. */
  readonly foldedLayout: number;
  /** What a label event does to the row of the transaction that it refers to. */
  readonly labels: readonly LabelRule[];
  /** Distinct distances back from the event time that windows begin or end at, milliseconds, ascending; Infinity for `all`. */
  readonly bounds: readonly number[];
  readonly spans: readonly Span[];
  readonly readings: readonly Reading[];
  readonly walks: readonly Walk[];
  /** How many numbers the walks answer. */
  readonly slots: number;
  readonly features: readonly WindowFeature[];
}

/** One cumulative column (two for squares: high and low limb of base 2^48). */
export interface Cumulative {
  readonly kind: 'count' | 'sum' | 'square' | 'cosine' | 'sine';
  /** Row position of the (first) column. */
  readonly at: number;
  /** Row position of the number fact; -1 for those that need none. */
  readonly numberAt: number;
  /** Bit of the mask that must be set; 0 for every event. */
  readonly bit: number;
}

/** A window: rows after bounds[from] up to and including bounds[to]. */
export interface Span {
  readonly from: number;
  readonly to: number;
  readonly excludeCurrent: boolean;
  /** Infinity for `all`. */
  readonly widthMs: number;
}

/** A number that is read from every sub-state as a difference of two rows, and added up. */
export interface Reading {
  readonly span: number;
  /** Row position of a cumulative column, or -1 for the number of rows. */
  readonly at: number;
}

export type WalkKind = 'min' | 'max' | 'first' | 'last' | 'seen' | 'same' | 'distinct' | 'top' | 'streak';

/** Something that needs a look at the rows of a window; windows that end at the same bound share one walk. */
export interface Walk {
  readonly kind: WalkKind;
  /** Row position of the fact; -1 where only the time counts. */
  readonly at: number;
  /** Bit of the mask that must be set; 0 for every event. */
  readonly bit: number;
  /** streak: the bit that goes on with it; else 0. */
  readonly streakBit: number;
  /** Index into the plan's summaries. */
  readonly summary: number;
  readonly to: number;
  readonly excludeCurrent: boolean;
  /** From the narrowest window to the widest; slot is where its answers begin. */
  readonly rings: readonly { readonly from: number; readonly span: number; readonly slot: number }[];
}

export interface SummarySpec {
  readonly at: number;
  readonly bit: number;
  /** Counts of the single values are kept, up to a cap. */
  readonly keepsValues: boolean;
}

export interface LabelRule {
  /** Kind of the label event. */
  readonly kind: string;
  /** Bit that is set in the transaction's row ... */
  readonly bit: number;
  /** ... if this one is set there. */
  readonly requires: number;
  /** Set in the rows of all transactions: labels have none. */
  readonly transaction: number;
}

export interface WindowFeature {
  readonly column: number;
  readonly span: number;
  /** Another window that it reads; else the same. */
  readonly alsoSpan: number;
  /** Reading of a sum whose size decides whether the value is exact; -1 for none. */
  readonly total: number;
  /** Slot of the walk whose cap decides whether the value is saturated; -1 for none. */
  readonly slot: number;
  /** It goes by labels, which do not find transactions that are folded into panes. */
  readonly hasLabel: boolean;
  readonly compute: Compute;
}
