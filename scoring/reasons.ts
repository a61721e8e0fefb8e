import type { FeatureRows } from '../features/rows.ts';
import { isProbability, type Model } from './model.ts';
import type { FeatureReason } from './risk-event.ts';

const reasonsPerRow = 3;
/** Occluded rows that are laid out at a time: 64 KiB for each 8 features of the job. */
const occludedRows = 1024;

/**
 * Explains rows by occlusion: each of the model's features in turn is put to its reference value, and the three whose reference moves
 * the probability most are the reasons, the most first. Features at their reference already cannot move it and are left out, and so are those without which the model has no probability.
 * @param chosen the rows to explain.
 * @param probabilities of all rows, as the model answered.
 * @returns per chosen row, up to three reasons.
 */
export async function explainRows(
  model: Model,
  rows: FeatureRows,
  probabilities: Float32Array,
  chosen: readonly number[],
): Promise<FeatureReason[][]> {
  const { width, values } = rows;
  const reasons: FeatureReason[][] = chosen.map(() => []);
  if (model.inputs.length === 0 || chosen.length === 0) return reasons;
  const capacity = Math.min(chosen.length * model.inputs.length, occludedRows);
  const occluded = new Float64Array(capacity * width);
  const owners: { readonly index: number; readonly input: number }[] = [];

  async function run(): Promise<void> {
    const answers = await model.score(occluded, owners.length);
    for (const [at, { index, input }] of owners.entries()) {
      const { feature, column, reference } = model.inputs[input];
      if (!isProbability(answers[at])) continue;
      const contribution = Math.round((probabilities[chosen[index]] - answers[at]) * 1e6) / 1e6;
      const value = values[chosen[index] * width + column];
      if (contribution !== 0) reasons[index].push({ type: 'feature', feature, value, reference, contribution });
    }
    owners.length = 0;
  }

  for (const [index, row] of chosen.entries()) {
    const base = row * width;
    for (const [input, { column, reference }] of model.inputs.entries()) {
      if (Math.fround(values[base + column]) === Math.fround(reference)) continue;
      if (owners.length === capacity) await run();
      const at = owners.length * width;
      occluded.set(values.subarray(base, base + width), at);
      occluded[at + column] = reference;
      owners.push({ index, input });
    }
  }
  await run();
  return reasons.map((list) => list.sort(byMagnitude).slice(0, reasonsPerRow));
}

function byMagnitude(a: FeatureReason, b: FeatureReason): number {
  return Math.abs(b.contribution) - Math.abs(a.contribution);
}
