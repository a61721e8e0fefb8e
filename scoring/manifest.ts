import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { FeatureIdentity } from '../features/rows.ts';
import { closest } from '../runtime/closest.ts';
import { describeError, WeirError } from '../runtime/errors.ts';

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, 'a sha256 in lower-case hex');

/** What an ONNX file does not say of itself; written beside it by the training script. */
const manifestSchema = z
  .strictObject({
    format: z.literal(1),
    id: z.string().min(1),
    version: z.string().min(1),
    /** Of the ONNX file. */
    sha256: sha256Hex,
    /** sha256 over the lines "name definition" of the model's own features, as FeatureIdentity.hash. */
    feature_set: sha256Hex,
    /** In the order of the model's input columns. */
    features: z
      .array(z.strictObject({ name: z.string().min(1), definition: z.string().min(1), reference: z.number() }))
      .min(1),
    /** Rows with the probability that the model must answer, here as where it was trained. */
    golden: z
      .array(z.strictObject({ features: z.array(z.number()), probability: z.number().min(0).max(1) }))
      .min(1, 'at least one row is needed to prove that the model answers here as where it was trained'),
    training: z.record(z.string(), z.union([z.string(), z.number()])).default({}),
  })
  .superRefine(({ features, golden }, context) => {
    for (const [index, { name }] of features.entries()) {
      if (features.findIndex((feature) => feature.name === name) === index) continue;
      context.addIssue({ code: 'custom', path: ['features', index, 'name'], message: `${name} stands there twice` });
    }
    for (const [index, row] of golden.entries()) {
      if (row.features.length === features.length) continue;
      const message = `${row.features.length} values for ${features.length} features`;
      context.addIssue({ code: 'custom', path: ['golden', index, 'features'], message });
    }
  });

export type Manifest = z.output<typeof manifestSchema>;

/** How far a golden row's probability may be off. */
export const goldenTolerance = 1e-5;

/** Reads and validates a manifest. @throws WeirError MODEL that names the file and what is wrong in it. */
export async function loadManifest(path: string): Promise<Manifest> {
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new WeirError('MODEL', `the model's manifest ${path} cannot be read: ${describeError(error)}`, {
      cause: error,
    });
  }
  const { data, error } = manifestSchema.safeParse(content);
  if (error) {
    const faults = error.issues.slice(0, 5).map((issue) => `${issue.path.join('.') || 'the whole'}: ${issue.message}`);
    throw new WeirError('MODEL', `the model's manifest ${path} is not valid: ${faults.join('; ')}`);
  }
  return data;
}

/** @throws WeirError MODEL unless the manifest was made for exactly these bytes. */
export function checkFile(manifest: Manifest, bytes: Uint8Array, path: string): void {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found === manifest.sha256) return;
  throw new WeirError(
    'MODEL',
    `${path} is not the file that the manifest of model ${manifest.id} ${manifest.version} describes: its sha256 is ${found}, the manifest says ${manifest.sha256}; take both from the same training run`,
  );
}

/**
 * Column of the job's feature set for each of the model's features.
 * @throws WeirError MODEL when a feature is missing in the job or is computed otherwise than the one the model was trained on.
 */
export function matchFeatures(manifest: Manifest, set: FeatureIdentity): Int32Array {
  const model = `model ${manifest.id} ${manifest.version}`;
  const lines = manifest.features.map(({ name, definition }) => `${name} ${definition}`).join('\n');
  if (createHash('sha256').update(lines).digest('hex') !== manifest.feature_set) {
    throw new WeirError(
      'MODEL',
      `the manifest of ${model} contradicts itself: feature_set is not the hash of its features; it was changed after training`,
    );
  }
  return Int32Array.from(manifest.features, ({ name, definition }) => {
    const column = set.names.indexOf(name);
    if (column < 0) {
      throw new WeirError(
        'MODEL',
        `${model} needs the feature ${name}, which the job does not compute${closest(name, set.names)}; add it to \`features\``,
      );
    }
    if (set.definitions[column] !== definition) {
      throw new WeirError(
        'MODEL',
        `${model} was trained on another ${name}: trained on "${definition}", the job computes "${set.definitions[column]}"; change the feature, or train again on features exported with this config`,
      );
    }
    return column;
  });
}

/** The golden rows as feature rows of the job, [golden.length, width]; other columns are 0. */
export function goldenRows(manifest: Manifest, columns: Int32Array, width: number): Float64Array {
  const rows = new Float64Array(manifest.golden.length * width);
  for (const [row, { features }] of manifest.golden.entries())
    for (const [index, value] of features.entries()) rows[row * width + columns[index]] = value;
  return rows;
}

/** @throws WeirError MODEL that names the golden row which the model answers otherwise. */
export function checkGolden(manifest: Manifest, probabilities: Float32Array): void {
  for (const [row, { probability }] of manifest.golden.entries()) {
    if (Math.abs(probabilities[row] - probability) <= goldenTolerance) continue;
    throw new WeirError(
      'MODEL',
      `model ${manifest.id} ${manifest.version} answers otherwise here than where it was trained: golden row ${row + 1} of ${manifest.golden.length} should be ${probability}, it is ${probabilities[row]}; export it again (are features cast to float32 in training?)`,
    );
  }
}
