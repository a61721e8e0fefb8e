import type { PlanBuilder } from '../plan-builder.ts';

/** What an aggregate is called with. */
export type ArgumentType =
  | 'number' // a money or number field
  | 'text' // a text field
  | 'value' // a money, number or text field
  | 'filter' // a filter or flag field
  | 'window'; // a duration

/**
 * One aggregate of the catalogue: everything there is to know of it. To add one, write such an object and name it in catalogue.ts.
 */
export interface Aggregate {
  readonly name: string;
  readonly arguments: readonly ArgumentType[];
  /** How many of the arguments may be left out, from the end. */
  readonly optionalArguments?: number;
  /**
   * What it says, as the end of the sentence "`name` is …".
   * @param events the events of the window in words, a plural.
   * @param args the arguments as they are to be shown.
   */
  meaning(events: string, ...args: string[]): string;
  /** Formulas with their sources, and edges of the meaning; sentences. */
  readonly notes?: string;
  /** The value, and its meaning, where the window has nothing to say. */
  readonly noData: string;
  readonly exactness: string;
  /** What is retained of each event for it, beyond its time. */
  readonly retains: string;
  /** What an evaluation costs. */
  readonly cost: string;
  /** As it stands in a config. */
  readonly example: string;
  /** It is about what was before: the current event never counts. */
  readonly excludesCurrent?: boolean;
  /** Windows without end make no sense, or no bounded state. */
  readonly needsWidth?: boolean;
  /** Asks the plan for what it needs. */
  plan(request: AggregateRequest): Planned;
}

/** One feature that is being planned. */
export interface AggregateRequest {
  readonly builder: PlanBuilder;
  /** The window. */
  readonly span: number;
  /** Width of the window, milliseconds; Infinity for `all`. */
  readonly widthMs: number;
  readonly delayMs: number;
  /** Mask bit of the events that count; 0 for all. They have the field's value where there is a field. */
  readonly bit: number;
  /** Fields of the arguments, in order; -1 for arguments that are none. */
  readonly fields: readonly number[];
  /** Whether the first field holds text. */
  readonly isText: boolean;
  /** Mask bits of filter arguments, each in conjunction with `where`; 0 for arguments that are none. */
  readonly filters: readonly number[];
  /** Mask bit that says whether an event has a value for the argument's field; 0 for always. */
  present(argument: number): number;
  /** Span of the same end and the given width. */
  spanOf(widthMs: number): number;
  /** Milliseconds of window arguments; 0 for arguments that are none. */
  readonly windows: readonly number[];
  /** 10^scale of the fields: value = stored / divisor. */
  readonly divisors: readonly number[];
}

export interface Planned {
  readonly compute: Compute;
  /** Reading of a sum whose size decides whether the value is exact. */
  readonly total?: number;
  /** Slot of the walk whose cap decides whether the value is saturated. */
  readonly slot?: number;
  /** Another window that it reads. */
  readonly alsoSpan?: number;
}

/** How a feature's value comes from what was read. */
export interface Compute {
  /** NaN where there is no data. */
  value(read: Readings): number;
  /** The value where there is no data. */
  readonly noData: number;
  /** Without data where cut panes are taken whole, there may be some where they are taken in part. */
  readonly mayAppear?: boolean;
  /**
   * Between what the value lies when panes are cut by the window's edges. `inner` was read without the panes that are cut, `outer` with
   * them. Absent: between the two values.
   */
  bounds?(inner: Readings, outer: Readings, cut: Cut): readonly [low: number, high: number];
}

/** What the evaluator has read for an event. */
export interface Readings {
  /** Differences of cumulative columns. */
  readonly sums: Float64Array;
  /** Answers of walks. */
  readonly walked: Float64Array;
  /** Event time, milliseconds. */
  readonly time: number;
  /** The current event's facts: facts[position - 1], as laid out in a row. */
  readonly facts: Float64Array;
}

/** What is known of the events in cut panes. */
export interface Cut {
  /** Least and greatest of the fact that the summary is about, stored units; Infinity and -Infinity when there is none. */
  least(span: number, summary: number): number;
  greatest(span: number, summary: number): number;
}

/** The hull of a mean over N values that sum up to S and up to n more of which each lies in [least, greatest]. */
export function meanBounds(
  sum: number,
  count: number,
  more: number,
  least: number,
  greatest: number,
): readonly [number, number] {
  if (more === 0) return [sum / count, sum / count];
  if (count === 0) return [least, greatest];
  const mean = sum / count;
  return [
    Math.min(mean, (sum + more * least) / (count + more)),
    Math.max(mean, (sum + more * greatest) / (count + more)),
  ];
}
