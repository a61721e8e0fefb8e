import type { TransactionBatch } from './columns.ts';
import { packPlace } from './geography.ts';
import { textHash } from './hash.ts';
import type { FeatureSet, NumberFact } from './plan.ts';

/** Values of the whole batch that several entities share: predicates and text hashes. */
export function createBatchColumns(set: FeatureSet) {
  /** By entity plan: one bit per predicate. */
  const masks = set.entities.map(() => new Int32Array(0));
  const uses = set.predicates.map((_, predicate) =>
    set.entities.flatMap(({ predicates }, plan) => {
      const bit = predicates.indexOf(predicate);
      return bit < 0 ? [] : [{ plan, bit }];
    }),
  );
  let passes = new Uint8Array(0);
  const hashes: Float64Array[] = set.layout.fields.map(() => new Float64Array(0));
  let ids = new Float64Array(0);
  return {
    masks,
    hashes,
    get ids() {
      return ids;
    },
    fill(batch: TransactionBatch): void {
      if (set.hashesIds) {
        if (ids.length < batch.count) ids = new Float64Array(batch.count * 2);
        for (let i = 0; i < batch.count; i++) ids[i] = textHash(batch.ids[i]);
      }
      if (passes.length < batch.count) {
        passes = new Uint8Array(batch.count * 2);
        for (let k = 0; k < masks.length; k++) masks[k] = new Int32Array(batch.count * 2);
      }
      for (const mask of masks) mask.fill(0, 0, batch.count);
      for (let k = 0; k < uses.length; k++) {
        set.predicates[k].fill(batch, passes);
        for (const { plan, bit } of uses[k]) {
          const mask = masks[plan];
          for (let i = 0; i < batch.count; i++) mask[i] |= passes[i] << bit;
        }
      }
      for (const field of set.hashedFields) {
        if (hashes[field].length < batch.count) hashes[field] = new Float64Array(batch.count * 2);
        const texts = batch.texts[field];
        for (let i = 0; i < batch.count; i++) hashes[field][i] = texts[i] === '' ? 0 : textHash(texts[i]);
      }
    },
  };
}

/** A fact's stored integer; NaN where the event has none. */
export function numberOf(
  { layout }: FeatureSet,
  batch: TransactionBatch,
  { field, longitude }: NumberFact,
  row: number,
): number {
  const value = batch.numbers[field][row];
  if (longitude < 0) return value;
  const degrees = (index: number) => batch.numbers[index][row] / 10 ** layout.fields[index].scale;
  return packPlace(degrees(field), degrees(longitude));
}
