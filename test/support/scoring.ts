import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import { featuresConfig } from '../../features/config.ts';
import { compileFeatures } from '../../features/definition.ts';
import type { FeatureSet } from '../../features/plan.ts';
import type { FeatureRows } from '../../features/rows.ts';
import { seededRandom } from '../../runtime/random.ts';
import { type PolicyConfig, policyConfig } from '../../scoring/config.ts';
import type { Manifest } from '../../scoring/manifest.ts';
import { type CompiledPolicy, compilePolicy } from '../../scoring/policy.ts';

/** A committed file of test/golden/model. */
export function goldenFile(name: string): string {
  return fileURLToPath(new URL(`../golden/model/${name}`, import.meta.url));
}

export function goldenManifest(): Manifest {
  return JSON.parse(readFileSync(goldenFile('model.json'), 'utf8'));
}

export const layout: EventLayout = {
  fields: [
    { name: 'amount', type: 'money', scale: 2, optional: false },
    { name: 'fraud', type: 'flag', scale: 0, optional: false },
    { name: 'outcome', type: 'text', scale: 0, optional: true },
    { name: 'age', type: 'number', scale: 1, optional: true },
  ],
  entities: [{ name: 'card' }, { name: 'terminal' }],
};

/** The features that the model of test/golden/model was made for, and some more. */
export function goldenSet(): FeatureSet {
  const groups = featuresConfig.parse([
    { event: ['is-night', 'amount'] },
    { entity: 'card', windows: ['1h', '24h'], aggregates: ['count', 'mean(amount)'] },
    { entity: 'terminal', windows: ['7d'], delay: '7d', aggregates: ['count', 'ratio(fraud)'] },
  ]);
  return compileFeatures(groups, {}, layout, 0).set!;
}

export function policyOf(set: FeatureSet, rules: PolicyConfig): CompiledPolicy {
  const { policy, faults } = compilePolicy(policyConfig.parse(rules), set, true);
  if (!policy) throw new Error(JSON.stringify(faults));
  return policy;
}

/** Made-up transactions of a layout, in offset order. */
export function madeBatch(count: number, of: EventLayout = layout, seed = 1): TransactionBatch {
  const random = seededRandom(seed);
  const rows = Array.from({ length: count }, (_, row) => row);
  const isText = (type: string) => type === 'text';
  const number = (type: string) => (type === 'flag' ? random.below(2) : random.below(20_000));
  return {
    count,
    ids: rows.map((row) => `tx-${row}`),
    times: Float64Array.from(rows, (row) => 1_764_063_000_000 + row * 137),
    kinds: rows.map(() => 'authorization'),
    unscored: new Uint8Array(count),
    refersTo: rows.map(() => ''),
    offsets: Float64Array.from(rows, (row) => 5_000_000 + row),
    rawIndexes: Int32Array.from(rows),
    numbers: of.fields.map(({ type }) => Float64Array.from(isText(type) ? [] : rows, () => number(type))),
    texts: of.fields.map(({ type }) => (isText(type) ? rows.map(() => (random.below(2) ? 'approved' : '')) : [])),
    entityIds: of.entities.map(({ name }) => rows.map(() => `${name}-${random.below(5_000)}`)),
    sources: [],
  };
}

/** Made-up feature values: some whole, some fractions, some at 0; a few of them not fresh. */
export function madeRows(count: number, set: FeatureSet, seed = 2): FeatureRows {
  const random = seededRandom(seed);
  const width = set.names.length;
  const values = Float64Array.from({ length: count * width }, () => {
    const value = random.exponential(3);
    return random.below(2) === 0 ? Math.floor(value) : Math.round(value * 1e4) / 3e4;
  });
  const states = Uint8Array.from(values, () => (random.below(40) === 0 ? 1 : 0));
  return { count, width, values, states, bounds: new Map(), knownFrom: new Float64Array(count).fill(Number.NaN) };
}
