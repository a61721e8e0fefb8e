import type { TransactionBatch } from '../features/columns.ts';
import type { Applied } from '../features/engine.ts';
import type { FeatureRows } from '../features/rows.ts';
import type { DecodedBatch } from './decode/decoder.ts';

/** Row i of one belongs to row i of the other. */
export interface FeaturedBatch {
  readonly decoded: DecodedBatch;
  readonly rows: FeatureRows;
}

/**
 * The rows that get a risk event: what repeats an earlier event, and kinds that only change the state, are left out. Most batches have
 * neither and stay as they are.
 */
export function publishedRows(decoded: DecodedBatch, rows: FeatureRows, { isRepeat }: Applied): FeaturedBatch {
  const { batch } = decoded;
  const kept: number[] = [];
  for (let row = 0; row < batch.count; row++) if ((isRepeat[row] | batch.unscored[row]) === 0) kept.push(row);
  return kept.length === batch.count ? { decoded, rows } : keptRows({ decoded, rows }, kept);
}

/** Decoded rows and their features, with these of them. */
export function keptRows({ decoded, rows }: FeaturedBatch, kept: readonly number[]): FeaturedBatch {
  const { batch, keys } = decoded;
  return {
    decoded: { ...decoded, batch: rowsOf(batch, kept), keys: kept.map((row) => keys[row]) },
    rows: featuresOf(rows, kept),
  };
}

/** The batch with these of its rows. */
export function rowsOf(batch: TransactionBatch, kept: readonly number[]): TransactionBatch {
  const list = <T>(column: readonly T[]) => (column.length === 0 ? [] : kept.map((row) => column[row]));
  const numbers = (column: Float64Array) =>
    column.length === 0 ? column : Float64Array.from(kept, (row) => column[row]);
  return {
    count: kept.length,
    ids: list(batch.ids),
    times: numbers(batch.times),
    kinds: list(batch.kinds),
    unscored: Uint8Array.from(kept, (row) => batch.unscored[row]),
    refersTo: list(batch.refersTo),
    offsets: numbers(batch.offsets),
    rawIndexes: Int32Array.from(kept, (row) => batch.rawIndexes[row]),
    numbers: batch.numbers.map(numbers),
    texts: batch.texts.map(list),
    entityIds: batch.entityIds.map(list),
    sources: list(batch.sources),
  };
}

function featuresOf({ width, values, states, bounds, knownFrom }: FeatureRows, kept: readonly number[]): FeatureRows {
  const out: FeatureRows = {
    count: kept.length,
    width,
    values: new Float64Array(kept.length * width),
    states: new Uint8Array(kept.length * width),
    bounds: new Map(),
    knownFrom: Float64Array.from(kept, (row) => knownFrom[row]),
  };
  for (const [to, from] of kept.entries()) {
    out.values.set(values.subarray(from * width, (from + 1) * width), to * width);
    out.states.set(states.subarray(from * width, (from + 1) * width), to * width);
    if (bounds.size === 0) continue;
    for (let column = 0; column < width; column++) {
      const held = bounds.get(from * width + column);
      if (held !== undefined) out.bounds.set(to * width + column, held);
    }
  }
  return out;
}
