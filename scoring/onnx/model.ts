import { readFile } from 'node:fs/promises';
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import type { FeatureIdentity } from '../../features/rows.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import type { ModelConfig } from '../config.ts';
import { checkFile, checkGolden, goldenRows, loadManifest, matchFeatures } from '../manifest.ts';
import { isProbability, type Model } from '../model.ts';

/**
 * Rows of one run. A run blocks the event loop and the next one waits for a turn of it, so this bounds how long heartbeats wait;
 * from here on, larger chunks cost no less per row.
 */
const chunkRows = 256;

const sessionOptions: InferenceSession.SessionOptions = {
  // One process is one core; more threads do not help at these sizes, and one gives the same bits for any batch size.
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionProviders: ['cpu'],
  logSeverityLevel: 3,
};

/**
 * Loads a model and proves it: the manifest fits the job's features and the file, and the golden rows come out as they should, which
 * also warms it up.
 * @param config with `onnx` and `manifest`.
 * @throws WeirError MODEL.
 */
export async function createOnnxModel(config: ModelConfig, set: FeatureIdentity): Promise<Model> {
  const path = config.onnx!;
  const manifest = await loadManifest(config.manifest!);
  const columns = matchFeatures(manifest, set);
  const session = await openSession(path, (bytes) => checkFile(manifest, bytes, path));
  try {
    const score = createScore(session, path, columns, set.names.length);
    const golden = goldenRows(manifest, columns, set.names.length);
    const answers = await score(golden, manifest.golden.length);
    demandProbabilities(answers, path);
    checkGolden(manifest, answers);
    return {
      identity: { id: manifest.id, version: manifest.version, sha256: manifest.sha256 },
      inputs: manifest.features.map(({ name, reference }, index) => ({
        column: columns[index],
        feature: name,
        reference,
      })),
      score,
      close: () => session.release(),
    };
  } catch (error) {
    await session.release();
    throw error;
  }
}

async function openSession(path: string, check: (bytes: Uint8Array) => void): Promise<InferenceSession> {
  // Before the first session: the runtime may else report on stderr which graphics cards it did not find.
  env.logLevel = 'error';
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new WeirError('MODEL', `the model ${path} cannot be read: ${describeError(error)}`, { cause: error });
  }
  check(bytes);
  try {
    return await InferenceSession.create(bytes, sessionOptions);
  } catch (error) {
    throw new WeirError('MODEL', `${path} is no ONNX model that can run here: ${describeError(error)}`, {
      cause: error,
    });
  }
}

/** Gathers the model's columns from the job's rows, chunk by chunk, and runs them. */
function createScore(session: InferenceSession, path: string, columns: Int32Array, width: number): Model['score'] {
  const input = findInput(session, path, columns.length);
  const output = findOutput(session, path);
  const fetches = [output];
  // Partitions score side by side: each call in progress has a buffer of its own.
  const free: Float32Array[] = [];
  const run = async (tensor: Tensor): Promise<Tensor> => {
    try {
      return (await session.run({ [input]: tensor }, fetches))[output];
    } catch (error) {
      throw new WeirError('MODEL', `${path} failed on a run: ${describeError(error)}`, { cause: error });
    }
  };
  return async (rows, count) => {
    const probabilities = new Float32Array(count);
    const buffer = free.pop() ?? new Float32Array(chunkRows * columns.length);
    for (let from = 0; from < count; from += chunkRows) {
      const size = Math.min(chunkRows, count - from);
      gather(rows, width, from, size, columns, buffer);
      const tensor = new Tensor('float32', buffer.subarray(0, size * columns.length), [size, columns.length]);
      readProbabilities(await run(tensor), size, path, probabilities.subarray(from, from + size));
    }
    free.push(buffer);
    return probabilities;
  };
}

function gather(
  rows: Float64Array,
  width: number,
  from: number,
  size: number,
  columns: Int32Array,
  out: Float32Array,
): void {
  let at = 0;
  for (let row = from; row < from + size; row++) {
    const base = row * width;
    for (let k = 0; k < columns.length; k++) out[at++] = rows[base + columns[k]];
  }
}

/** @param answer float32 [size, 2] (the second column is the probability of fraud), [size, 1] or [size]. */
function readProbabilities(answer: Tensor, size: number, path: string, out: Float32Array): void {
  const values = answer.data as Float32Array;
  const stride = values.length / size;
  if (stride !== 1 && stride !== 2) {
    throw new WeirError('MODEL', `${path} answers [${answer.dims.join(', ')}] for ${size} rows; ${outputWanted}`);
  }
  for (let row = 0; row < size; row++) {
    const probability = values[row * stride + stride - 1];
    const isRounded = probability >= -rounding && probability <= 1 + rounding;
    out[row] = isRounded ? Math.min(1, Math.max(0, probability)) : probability;
  }
}

function demandProbabilities(answers: Float32Array, path: string): void {
  const wrong = answers.find((answer) => !isProbability(answer));
  if (wrong === undefined) return;
  throw new WeirError('MODEL', `${path} answers ${wrong}, which is no probability; ${outputWanted}`);
}

/** Forests add up float32 shares: their sum may pass 1 by this. */
const rounding = 1e-5;

const outputWanted =
  'its one float output must be the probability, [N, 2] (columns legitimate, fraud), [N, 1] or [N]; export classifiers without ZipMap';

function findInput({ inputMetadata }: InferenceSession, path: string, features: number): string {
  const [input] = inputMetadata;
  const isMatrix = inputMetadata.length === 1 && input.isTensor && input.type === 'float32' && input.shape.length === 2;
  const width = isMatrix ? input.shape[1] : undefined;
  if (isMatrix && (typeof width !== 'number' || width === features)) return input.name;
  throw new WeirError(
    'MODEL',
    `${path} takes ${inputMetadata.map(describe).join(', ')}; it must take one float32 [N, ${features}], the features of its manifest in order`,
  );
}

/** The one output of floats; others, such as the label, are not fetched. */
function findOutput({ outputMetadata }: InferenceSession, path: string): string {
  const floats = outputMetadata.filter((output) => output.isTensor && output.type === 'float32');
  const [output] = floats;
  if (floats.length === 1 && output.isTensor) {
    const last = output.shape.at(-1);
    const isVector = output.shape.length === 1;
    const isMatrix = output.shape.length === 2 && (typeof last !== 'number' || last === 1 || last === 2);
    if (isVector || isMatrix) return output.name;
  }
  throw new WeirError('MODEL', `${path} gives ${outputMetadata.map(describe).join(', ')}; ${outputWanted}`);
}

function describe(value: InferenceSession.ValueMetadata): string {
  if (!value.isTensor) return `${value.name} (no tensor)`;
  return `${value.name} (${value.type} [${value.shape.map((size) => size || 'N').join(', ')}])`;
}
