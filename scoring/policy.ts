import { createHash } from 'node:crypto';
import type { EventLayout, TransactionBatch } from '../features/columns.ts';
import type { FeatureSet } from '../features/plan.ts';
import type { FeatureRows } from '../features/rows.ts';
import { describeError } from '../runtime/errors.ts';
import { compileExpression, type Expression } from '../runtime/expression.ts';
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
  const expressions: Expression[] = [];
  for (const { name } of set.layout.fields) {
    if (name !== 'probability' && name !== 'kind') continue;
    faults.push({ path: ['event', 'fields', name], message: `rules have a ${name} of their own; rename the field` });
  }
  for (const [index, { name, when, decision }] of config.entries()) {
    const fault = (message: string) => faults.push({ path: ['policy', index, 'when'], message });
    try {
      const expression = compileExpression(when, values.names);
      if (!hasModel && expression.uses.includes(values.names.indexOf('probability'))) {
        fault(`the rule ${name} reads probability, and without a model that is always 0: it cannot mean anything`);
      }
      if (typeof expression.evaluate(values.readSample) !== 'boolean') {
        fault(`the rule ${name} gives a number or a text; write a comparison, such as \`${firstName(when)} > 0\``);
      }
      rules.push({ name, when: singleBlanks(when), decision });
      expressions.push(expression);
    } catch (error) {
      fault(describeError(error));
    }
  }
  if (faults.length > 0) return { policy: undefined, faults };
  return { policy: createPolicy(rules, expressions, values), faults: [] };
}

function createPolicy(
  rules: readonly PolicyRule[],
  expressions: readonly Expression[],
  values: RuleValues,
): CompiledPolicy {
  const levels = rules.map((rule) => decisionNames.indexOf(rule.decision));
  return {
    version: createHash('sha256').update(JSON.stringify(rules)).digest('hex').slice(0, 12),
    rules,
    decide(batch, rows, probabilities) {
      const decisions = new Uint8Array(batch.count);
      const fired = expressions.map((expression, rule) => {
        const column = new Uint8Array(batch.count);
        values.bind(batch, rows, probabilities);
        for (let row = 0; row < batch.count; row++) {
          values.moveTo(row);
          if (expression.evaluate(values.read) !== true) continue;
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
  readonly names: readonly string[];
  bind(batch: TransactionBatch, rows: FeatureRows, probabilities: Float64Array): void;
  moveTo(row: number): void;
  read(index: number): number | string;
  /** A value of each name's type, for finding out what an expression gives. */
  readSample(index: number): number | string;
}

/**
 * Features first, then `probability`, event fields in major units, and `kind`. A field that has a feature of its own (`amount`) is
 * that feature: the same number, but 0 where the event lacks it, while a comparison with a missing field is false.
 */
function createRuleValues(set: FeatureSet): RuleValues {
  const { fields } = set.layout;
  const names = ruleNames(set.names, set.layout);
  const probabilityAt = set.names.length;
  const kindAt = names.length - 1;
  const fieldAt = names.map((name) => fields.findIndex((field) => field.name === name));
  const divisors = fields.map((field) => 10 ** field.scale);
  let batch: TransactionBatch;
  let features: Float64Array;
  let probabilities: Float64Array;
  let width = 0;
  let row = 0;
  let base = 0;
  return {
    names,
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
    readSample(index) {
      if (index <= probabilityAt) return 1;
      return index === kindAt || fields[fieldAt[index]].type === 'text' ? '' : 1;
    },
  };
}

function ruleNames(features: readonly string[], layout: EventLayout): string[] {
  const fields = layout.fields.map((field) => field.name).filter((name) => !features.includes(name));
  return [...features, 'probability', ...fields, 'kind'];
}

/** White space outside of quoted texts says nothing: rules that differ in it only are the same policy. */
function singleBlanks(when: string): string {
  return when.trim().replaceAll(/"(?:[^"\\]|\\.)*"|\s+/g, (token) => (token.startsWith('"') ? token : ' '));
}

function firstName(when: string): string {
  return /[A-Za-z_][\w.-]*/.exec(when)?.[0] ?? 'probability';
}
