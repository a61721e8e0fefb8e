import type { FeatureIdentity } from '../../features/rows.ts';
import type { Model } from '../model.ts';

export interface OnnxModelConfig {
  /** Paths. */
  readonly onnx: string;
  readonly manifest: string;
}

/** Loads, checks and warms up a model. @throws WeirError MODEL. */
export async function createOnnxModel(_config: OnnxModelConfig, _set: FeatureIdentity): Promise<Model> {
  throw new Error('under way');
}
