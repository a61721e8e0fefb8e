import { createHash } from 'node:crypto';
import type { EventLayout, TransactionBatch } from '../features/columns.ts';
import type { FeatureSet } from '../features/plan.ts';
import { fieldName } from '../features/predicate.ts';
import type { FeatureRows } from '../features/rows.ts';
import { describeError } from '../runtime/errors.ts';
import { compileCondition, type ExpressionName } from '../runtime/expression.ts';
import type { PolicyConfig } from './config.ts';

/** What a risk event can say, least severe first; a decision's number is its index here. */
export const decisionNames = ['approve', 'challenge', 'review', 'block'] as const;
export type Decision = (typeof decisionNames)[number];

/** The rules of a job, ready to be evaluated. */
export interface CompiledPolicy {
  /** First 12 hex digits of the sha256 of the canonical rules. */
  readonly version: string;
  readonly rules: readonly PolicyRule[];
  /** @param probabilities float64, one for each of the batch's rows. */
  decide(batch: TransactionBatch, rows: FeatureRows, probabilities: Float64Array): Verdicts;
}

export interface PolicyRule {
  readonly name: string;
  /** The expression, its white space made single blanks. */
  readonly when: string;
  readonly decision: Decision;
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

/**
 * Compiles the `policy` section; every fault is returned, with its path below the config's root.
 * @param hasModel false for rules only, where a rule over `probability` could never fire.
 */
export function compilePolicy(config: PolicyConfig, set: FeatureSet, hasModel: boolean): PolicyCompilation {
  const values = createRuleValues(set);
  const faults: PolicyFault[] = [];
  const rules: PolicyRule[] = [];
  const conditions: Condition[] = [];
  for (const { name } of set.layout.fields) {
    if (name !== 'probability' && name !== 'kind') continue;
    faults.push({ path: ['event', 'fields', name], message: `rules have a ${name} of their own; rename the field` });
  }
  for (const [index, { name, when, decision }] of config.entries()) {
    const fault = (message: string) => faults.push({ path: ['policy', index, 'when'], message });
    try {
      const condition = compileCondition(when, values.names);
      if (!hasModel && condition.uses.includes(values.probabilityAt)) {
        fault(`the rule ${name} reads probability, and without a model that is always 0: it cannot mean anything`);
      }
      rules.push({ name, when: singleBlanks(when), decision });
      conditions.push(condition);
    } catch (error) {
      fault(describeError(error));
    }
  }
  if (faults.length > 0) return { policy: undefined, faults };
  return { policy: createPolicy(rules, conditions, values), faults: [] };
}

type Condition = ReturnType<typeof compileCondition>;

function createPolicy(
  rules: readonly PolicyRule[],
  conditions: readonly Condition[],
  values: RuleValues,
): CompiledPolicy {
  const levels = rules.map((rule) => decisionNames.indexOf(rule.decision));
  return {
    version: createHash('sha256').update(JSON.stringify(rules)).digest('hex').slice(0, 12),
    rules,
    decide(batch, rows, probabilities) {
      const decisions = new Uint8Array(batch.count);
      const fired = conditions.map((condition, rule) => {
        const column = new Uint8Array(batch.count);
        values.bind(batch, rows, probabilities);
        for (let row = 0; row < batch.count; row++) {
          values.moveTo(row);
          if (!condition.holds(values.read)) continue;
          column[row] = 1;
          if (levels[rule] > decisions[row]) decisions[row] = levels[rule];
        }
        return column;
      });
      return { decisions, fired };
    },
  };
}

/** The values that rules read, row after row. */
interface RuleValues {
  readonly names: readonly ExpressionName[];
  /** Index of `probability` among them. */
  readonly probabilityAt: number;
  bind(batch: TransactionBatch, rows: FeatureRows, probabilities: Float64Array): void;
  moveTo(row: number): void;
  read(index: number): number | string;
}

/**
 * Features first, then `probability`, event fields in major units, and `kind`. A field that has a feature of its own (`amount`) is
 * that feature: the same number, but 0 where the event lacks it, while a comparison with a missing field is unknown.
 */
function createRuleValues(set: FeatureSet): RuleValues {
  const { fields } = set.layout;
  const names = ruleNames(set.names, set.layout);
  const probabilityAt = set.names.length;
  const kindAt = names.length - 1;
  const fieldAt = names.map(({ name }) => fields.findIndex((field) => field.name === name));
  const divisors = fields.map((field) => 10 ** field.scale);
  let batch: TransactionBatch;
  let features: Float64Array;
  let probabilities: Float64Array;
  let width = 0;
  let row = 0;
  let base = 0;
  return {
    names,
    probabilityAt,
    bind(of, rows, scored) {
      batch = of;
      features = rows.values;
      width = rows.width;
      probabilities = scored;
    },
    moveTo(at) {
      row = at;
      base = at * width;
    },
    read(index) {
      if (index < probabilityAt) return features[base + index];
      if (index === probabilityAt) return probabilities[row];
      if (index === kindAt) return batch.kinds[row];
      const field = fieldAt[index];
      return fields[field].type === 'text' ? batch.texts[field][row] : batch.numbers[field][row] / divisors[field];
    },
  };
}

function ruleNames(features: readonly string[], layout: EventLayout): ExpressionName[] {
  const fields = layout.fields.map(fieldName);
  const typeOf = (feature: string) => fields.find(({ name }) => name === feature)?.type ?? 'number';
  return [
    ...features.map((name) => ({ name, type: typeOf(name) })),
    { name: 'probability', type: 'number' },
    ...fields.filter(({ name }) => !features.includes(name)),
    { name: 'kind', type: 'text' },
  ];
}

/** White space outside of quoted texts says nothing: rules that differ in it only are the same policy. */
function singleBlanks(when: string): string {
  return when.trim().replaceAll(/"(?:[^"\\]|\\.)*"|\s+/g, (token) => (token.startsWith('"') ? token : ' '));
}
