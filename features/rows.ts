/** Feature values of a batch, row-major: value of feature f for row i at [i * width + f]. */
export interface FeatureRows {
  count: number;
  readonly width: number;
  values: Float64Array;
  /** Same shape; an index into `featureStates`, 0 for fresh. */
  states: Uint8Array;
  /** By index of the value: between what the true value lies, where it is approximate because panes were cut. */
  readonly bounds: Map<number, readonly [low: number, high: number]>;
  /**
   * By row: since when all that happened is known, where a window reaches further back and is incomplete for that; NaN: none does. Milliseconds
   * since the epoch; Infinity: not known yet.
   */
  knownFrom: Float64Array;
}

/** Rows that grow with the first batch that is written to them. */
export function newRows(width: number): FeatureRows {
  return {
    count: 0,
    width,
    values: new Float64Array(0),
    states: new Uint8Array(0),
    bounds: new Map(),
    knownFrom: new Float64Array(0),
  };
}

/** Makes room for a batch's features, all of them fresh. */
export function resizeRows(out: FeatureRows, count: number): void {
  out.count = count;
  out.bounds.clear();
  if (out.knownFrom.length < count) out.knownFrom = new Float64Array(count);
  out.knownFrom.fill(Number.NaN, 0, count);
  if (out.values.length < count * out.width) {
    out.values = new Float64Array(count * out.width);
    out.states = new Uint8Array(count * out.width);
  } else {
    out.states.fill(0, 0, count * out.width);
  }
}

/**
 * What a value is worth, worst last where several apply. fresh: exact; absent: no event in the window, the value is the
 * aggregate's documented default; stale: other partitions' part is older than the bound; approximate: beyond exact arithmetic, or read
 * from panes (then bounds say between what the true value lies);
 * saturated: at its cap; incomplete: events in the window were no longer (or not yet) in the state.
 */
export const featureStates = ['fresh', 'absent', 'stale', 'approximate', 'saturated', 'incomplete'] as const;
export type FeatureState = (typeof featureStates)[number];

/** What identifies a job's features to models, policies and subscribers; made by features/definition.ts. */
export interface FeatureIdentity {
  /** Full names in column order, e.g. "card.count.1h". */
  readonly names: readonly string[];
  /** Same order: the canonical definition, everything that the value depends on; equal text means equal values. */
  readonly definitions: readonly string[];
  /** sha256 in hex over the lines "name definition". */
  readonly hash: string;
}
