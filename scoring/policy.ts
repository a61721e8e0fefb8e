import type { TransactionBatch } from '../features/columns.ts';
import type { FeatureSet } from '../features/plan.ts';
import type { FeatureRows } from '../features/rows.ts';
import type { PolicyConfig } from './config.ts';

/** What a risk event can say, least severe first; a decision's number is its index here. */
export const decisionNames = ['approve', 'challenge', 'review', 'block'] as const;
export type Decision = (typeof decisionNames)[number];

/** The rules of a job, ready to be evaluated. */
export interface CompiledPolicy {
  /** First 12 hex digits of the sha256 of the canonical rules. */
  readonly version: string;
  readonly rules: readonly { readonly name: string; readonly when: string; readonly decision: Decision }[];
  /** @param probabilities float64, one for each of the batch's rows. */
  decide(batch: TransactionBatch, rows: FeatureRows, probabilities: Float64Array): Verdicts;
}

export interface Verdicts {
  /** Per row the index of its decision in `decisionNames`. */
  readonly decisions: Uint8Array;
  /** Per rule, per row: 1 where the rule fired. */
  readonly fired: readonly Uint8Array[];
}

/** What is wrong with a rule, and where in the config. */
export interface PolicyFault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type PolicyCompilation =
  | { readonly policy: CompiledPolicy; readonly faults: readonly [] }
  | { readonly policy: undefined; readonly faults: readonly PolicyFault[] };

/** Compiles the `policy` section; every fault is returned, with its path below the config's root. */
export function compilePolicy(_rules: PolicyConfig, _set: FeatureSet, _hasModel: boolean): PolicyCompilation {
  throw new Error('under way');
}
