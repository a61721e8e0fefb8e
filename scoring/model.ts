/** The model port: rows in, probabilities out. Adapters: onnx/model.ts and rules-only.ts; both pass test/contract/model.ts. */
export interface Model {
  /** Goes into every risk event. sha256 in lower-case hex; for rules only, of the empty string. */
  readonly identity: ModelIdentity;

  /** The features that the model reads, in its own order; none for rules only. */
  readonly inputs: readonly ModelInput[];

  /**
   * Probability of fraud for each row.
   * @param rows float64 [count, width], row-major: the columns of the job's feature set that the model was loaded for. The model picks
   *   those that it reads and rounds them to float32. The rows must not change until the promise settles.
   * @returns float32 [count], the caller's to keep. What is outside of [0, 1], or NaN, the model answered: see `isProbability`.
   * @throws WeirError MODEL when the run fails.
   */
  score(rows: Float64Array, count: number): Promise<Float32Array>;

  close(): Promise<void>;
}

/** Whether a model's answer is one: in [0, 1]. */
export function isProbability(answer: number): boolean {
  return answer >= 0 && answer <= 1;
}

export interface ModelIdentity {
  readonly id: string;
  readonly version: string;
  readonly sha256: string;
}

export interface ModelInput {
  /** Column of the job's feature rows. */
  readonly column: number;
  readonly feature: string;
  /** What stands for "nothing unusual" when reasons are worked out, in the feature's unit. */
  readonly reference: number;
}
