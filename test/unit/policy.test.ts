import { describe, expect, it } from '@jest/globals';
import type { EventLayout } from '../../features/columns.ts';
import { modelConfig, type PolicyConfig, policyConfig } from '../../scoring/config.ts';
import { compilePolicy, decisionNames } from '../../scoring/policy.ts';
import { goldenSet, layout, madeBatch, madeRows, policyOf } from '../support/scoring.ts';

const set = goldenSet();
const at = (name: string) => set.names.indexOf(name);
const rule = (name: string, when: string, decision: PolicyConfig[number]['decision'] = 'review') => ({
  name,
  when,
  decision,
});

/** One transaction: all features 0 but those given. */
function verdictOn(
  rules: PolicyConfig,
  of: { features?: Record<string, number>; probability?: number; outcome?: string; age?: number; fraud?: number },
) {
  const batch = madeBatch(1);
  batch.numbers[0][0] = 1250;
  batch.numbers[1][0] = of.fraud ?? 0;
  batch.numbers[3][0] = of.age ?? Number.NaN;
  batch.texts[2][0] = of.outcome ?? '';
  const rows = madeRows(1, set);
  rows.values.fill(0);
  for (const [name, value] of Object.entries(of.features ?? {})) rows.values[at(name)] = value;
  const policy = policyOf(set, rules);
  const { decisions, fired } = policy.decide(batch, rows, Float64Array.of(of.probability ?? 0));
  return {
    decision: decisionNames[decisions[0]],
    rules: policy.rules.filter((_, index) => fired[index][0] === 1).map(({ name }) => name),
  };
}

describe('a policy', () => {
  const levels = [
    rule('high', 'probability >= 0.9', 'block'),
    rule('raised', 'probability >= 0.3', 'challenge'),
    rule('burst', 'card.count.1h > 20 and terminal.ratio.fraud.7d.delay-7d >= 0.6', 'review'),
    rule('known', 'card.count.24h > 0', 'approve'),
  ];

  it('takes the severest decision of all rules that fire, whatever their order', () => {
    const burst = { 'card.count.1h': 21, 'terminal.ratio.fraud.7d.delay-7d': 0.6 };
    expect(verdictOn(levels, { probability: 0.1 })).toEqual({ decision: 'approve', rules: [] });
    expect(verdictOn(levels, { probability: 0.3 })).toEqual({ decision: 'challenge', rules: ['raised'] });
    expect(verdictOn(levels, { probability: 0.95 })).toEqual({ decision: 'block', rules: ['high', 'raised'] });
    expect(verdictOn(levels, { probability: 0.5, features: burst })).toEqual({
      decision: 'review',
      rules: ['raised', 'burst'],
    });
    expect(verdictOn([...levels].reverse(), { probability: 0.95, features: burst })).toEqual({
      decision: 'block',
      rules: ['burst', 'raised', 'high'],
    });
  });

  it('lets an approving rule fire without undoing another', () => {
    const known = { 'card.count.24h': 3 };
    expect(verdictOn(levels, { features: known })).toEqual({ decision: 'approve', rules: ['known'] });
    expect(verdictOn(levels, { features: known, probability: 0.9 }).decision).toBe('block');
  });

  it('approves where there are no rules', () => {
    expect(verdictOn([], { probability: 1 })).toEqual({ decision: 'approve', rules: [] });
  });

  it('reads event fields in major units, texts, and the kind; a missing number fits no comparison', () => {
    const fires = (when: string, of = {}) => verdictOn([rule('it', when)], of).rules.length === 1;
    expect(fires('age == 12.5', { age: 125 })).toBe(true);
    expect(fires('age >= 0 or age < 0')).toBe(false);
    expect(fires('outcome == "declined"', { outcome: 'declined' })).toBe(true);
    expect(fires('kind in ("authorization", "refund")')).toBe(true);
    expect(fires('kind == "refund"')).toBe(false);
  });

  it('takes a flag for a condition, and what is missing for unknown', () => {
    const fires = (when: string, of = {}) => verdictOn([rule('it', when)], of).rules.length === 1;
    expect([fires('fraud', { fraud: 1 }), fires('fraud', { fraud: 0 }), fires('fraud == 1', { fraud: 1 })]).toEqual([
      true,
      false,
      true,
    ]);
    expect([fires('not fraud', { fraud: 1 }), fires('not fraud', { fraud: 0 })]).toEqual([false, true]);
    expect(fires('fraud and probability > 0.5', { fraud: 1, probability: 0.6 })).toBe(true);
    for (const when of ['age != 5', 'not (age > 5)', 'age not in (1, 2)', 'outcome != "declined"'])
      expect({ when, fires: fires(when) }).toEqual({ when, fires: false });
    expect(fires('age > 5 or not exists(outcome)')).toBe(true);
  });

  it('means the feature where a field has the same name', () => {
    const rules = [rule('it', 'amount > 100')];
    expect(verdictOn(rules, { features: { amount: 101 } }).rules).toEqual(['it']);
    expect(verdictOn(rules, { features: { amount: 0 } }).rules).toEqual([]);
  });

  it('decides each row of a batch by itself', () => {
    const rules = [rule('odd', 'card.count.1h mod 2 == 1'), rule('high', 'probability > 0.5', 'block')];
    const rows = madeRows(500, set);
    const probabilities = Float64Array.from({ length: 500 }, (_, row) => (row % 7) / 7);
    const { decisions, fired } = policyOf(set, rules).decide(madeBatch(500), rows, probabilities);
    for (let row = 0; row < 500; row++) {
      const isOdd = rows.values[row * rows.width + at('card.count.1h')] % 2 === 1;
      const isHigh = probabilities[row] > 0.5;
      expect([fired[0][row], fired[1][row]]).toEqual([Number(isOdd), Number(isHigh)]);
      expect(decisions[row]).toBe(isHigh ? 3 : isOdd ? 2 : 0);
    }
  });

  it('has a version that changes with what it says, not with its white space', () => {
    const version = (...rules: PolicyConfig) => policyOf(set, rules).version;
    const one = version(rule('a', 'probability > 0.5'));
    expect(one).toMatch(/^[0-9a-f]{12}$/);
    expect(version(rule('a', '  probability\n   > 0.5 '))).toBe(one);
    expect(version(rule('a', 'probability > 0.6'))).not.toBe(one);
    expect(version(rule('b', 'probability > 0.5'))).not.toBe(one);
    expect(version(rule('a', 'probability > 0.5', 'block'))).not.toBe(one);
    expect(version(rule('a', 'kind == "a  b"'))).not.toBe(version(rule('a', 'kind == "a b"')));
  });
});

describe('a policy that is wrong', () => {
  const faults = (rules: PolicyConfig, hasModel = true) =>
    compilePolicy(rules, set, hasModel).faults.map(({ path, message }) => `${path.join('.')}: ${message}`);

  it('is answered with every fault and its place', () => {
    expect(
      faults([rule('a', 'card.cuont.1h > 2'), rule('b', 'probability > 0.1'), rule('c', 'probability >')]),
    ).toEqual([
      expect.stringMatching(/^policy\.0\.when: unknown name card\.cuont\.1h at column 1.*did you mean card\.count\.1h/),
      expect.stringMatching(/^policy\.2\.when: the expression probability > cannot be read/),
    ]);
  });

  it('may not have rules that are no conditions', () => {
    expect(faults([rule('a', 'card.count.1h'), rule('b', 'max(probability, 0.5)'), rule('c', 'kind')])).toEqual([
      'policy.0.when: card.count.1h is a number, not a condition; write a comparison, such as `card.count.1h > 0`',
      expect.stringMatching(/^policy\.1\.when: max\(probability, 0\.5\) is a number, not a condition/),
      expect.stringMatching(/^policy\.2\.when: kind is a text, not a condition/),
    ]);
  });

  it('may not compare what does not fit: such a rule could never fire', () => {
    expect(faults([rule('a', 'kind == "a" and outcome > 5'), rule('b', 'fraud and amount > "5"')])).toEqual([
      'policy.0.when: outcome > 5 does not fit: outcome is a text, and 5 is a number',
      'policy.1.when: amount > "5" does not fit: amount is a number, and "5" is a text',
    ]);
  });

  it('may not ask for a probability that nothing answers', () => {
    expect(faults([rule('a', 'card.count.1h > 3 or probability > 0.5')], false)).toEqual([
      expect.stringMatching(/^policy\.0\.when: the rule a reads probability, and without a model/),
    ]);
    expect(faults([rule('a', 'card.count.1h > 3')], false)).toEqual([]);
  });

  it('cannot have fields whose names are taken', () => {
    const fields: EventLayout['fields'] = [{ name: 'probability', type: 'number', scale: 0, optional: false }];
    const { faults: found } = compilePolicy([], { ...set, layout: { ...layout, fields } }, true);
    expect(found).toEqual([expect.objectContaining({ path: ['event', 'fields', 'probability'] })]);
  });
});

describe('the config of scoring', () => {
  it('wants each rule name once, in kebab case, and a known decision', () => {
    const issues = (rules: unknown) => policyConfig.safeParse(rules).error?.issues.map(({ path }) => path.join('.'));
    expect(issues([rule('a-1', 'x'), rule('b', 'x')])).toBeUndefined();
    expect(issues([rule('a', 'x'), rule('a', 'x')])).toEqual(['1.name']);
    expect(issues([rule('Card_Burst', 'x')])).toEqual(['0.name']);
    expect(issues([{ ...rule('a', 'x'), decision: 'deny' }])).toEqual(['0.decision']);
    expect(issues([{ ...rule('a', 'x'), extra: 1 }])).toEqual(['0']);
  });

  it('wants a model with its manifest, or none', () => {
    const isValid = (model: unknown) => modelConfig.safeParse(model).success;
    expect(isValid({ onnx: 'm.onnx', manifest: 'm.json' })).toBe(true);
    expect(isValid({ rules_only: true })).toBe(true);
    for (const wrong of [{}, { onnx: 'm.onnx' }, { manifest: 'm.json' }, { rules_only: false }])
      expect(isValid(wrong)).toBe(false);
    expect(isValid({ onnx: 'm.onnx', manifest: 'm.json', rules_only: true })).toBe(false);
    expect(isValid({ rules_only: true, manifest: 'm.json' })).toBe(false);
  });
});
