/**
 * A batch of decoded transactions as columns: row i of every column belongs to the i-th valid record of the batch, in source
 * order. Columns rather than an object per event keep the inner loops free of allocation.
 */
export interface TransactionBatch {
  /** Number of rows. */
  readonly count: number;
  /** Transaction ids; never empty. */
  readonly ids: string[];
  /** Event times, milliseconds since the Unix epoch; integers. */
  readonly times: Float64Array;
  /** Event kinds, e.g. "authorization". */
  readonly kinds: string[];
  /** 1 where events of the row's kind only change the state and have no risk event of their own (`event.unscored`), else 0. */
  readonly unscored: Uint8Array;
  /** Id of the earlier transaction that the event is about, as a chargeback is; '' for none. */
  readonly refersTo: string[];
  /** Source offsets; strictly ascending, below 2^53. */
  readonly offsets: Float64Array;
  /** Row's index in the raw batch that it was decoded from (rejected records leave gaps). */
  readonly rawIndexes: Int32Array;
  /**
   * Per field of the layout (same order): for money, number and flag fields the fixed-point integer (money in minor units,
   * flag 0 or 1), NaN where an optional field is missing; for text fields an empty array.
   */
  readonly numbers: Float64Array[];
  /** Per field of the layout (same order): the value of text fields, '' where missing; for other types an empty array. */
  readonly texts: string[][];
  /**
   * Per entity of the layout (same order): the entity's id, '' where the event carries none. Ids are well-formed Unicode, so that each has
   * a UTF-8 of its own; those of several parts are joined by "|".
   */
  readonly entityIds: string[][];
  /** Whose repetitions are to be recognised together: what the source is keyed by. Empty where repetitions are not looked for. */
  readonly sources: string[];
}

export type FieldType = 'money' | 'number' | 'flag' | 'text';

export interface FieldLayout {
  readonly name: string;
  readonly type: FieldType;
  /** Decimal digits behind the point that the stored integer keeps: value = stored / 10^scale. 0 for flag and text. */
  readonly scale: number;
  readonly optional: boolean;
  /** What a text is made of the record's by, e.g. "email"; absent: it is the record's own. */
  readonly made?: string;
}

export const entityDefaults = { exactEvents: 4096, idle: '400d' };

export interface EntityLayout {
  readonly name: string;
  /** What the id is made of the record's ids by, e.g. "ip/24" or "id, id" of two parts; absent: it is the record's own. */
  readonly made?: string;
  /** So many of the newest events are kept one by one at least; absent: as `entityDefaults` says. */
  readonly exactEvents?: number;
  /** Totals without end begin anew after so long without an event; absent: as `entityDefaults` says. Milliseconds. */
  readonly idleMs?: number;
}

/** What columns a job's events have; derived from the config's `event` section. */
export interface EventLayout {
  readonly fields: readonly FieldLayout[];
  readonly entities: readonly EntityLayout[];
  /** Kinds that events may be of, as far as the config says. */
  readonly kinds?: readonly string[];
  /** How repetitions are recognised; absent: they are not. */
  readonly deduplication?: { readonly windowMs: number; readonly idsPerKey: number };
}

/** The batch's earliest event time; Infinity where it has no rows. */
export function oldestOf({ times, count }: TransactionBatch): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (let row = 0; row < count; row++) if (times[row] < oldest) oldest = times[row];
  return oldest;
}
