/** The model port: rows in, probabilities out. Adapters: onnx/model.ts and rules-only.ts; both pass test/contract/model.ts. */
export interface Model {
  /** Goes into every risk event. sha256 in lower-case hex; for rules only, of the empty string. */
  readonly identity: { readonly id: string; readonly version: string; readonly sha256: string };

  /**
   * Probability of fraud for each row.
   * @param rows float32 [count, features], row-major, features in the order of the job's feature set that the model was loaded
   *   for; the model picks those it uses.
   * @returns float32 [count], each in [0, 1].
   */
  score(rows: Float32Array, count: number): Promise<Float32Array>;

  close(): Promise<void>;
}
