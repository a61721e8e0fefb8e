import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { eventConfig } from '../consumers/decode/config.ts';
import { layoutOf } from '../consumers/decode/decoder.ts';
import { featuresConfig } from '../features/config.ts';
import { compileFeatures } from '../features/definition.ts';
import type { FeatureSet } from '../features/plan.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Model } from '../scoring/model.ts';
import { createOnnxModel } from '../scoring/onnx/model.ts';
import { createScorer } from '../scoring/scorer.ts';
import { madeBatch, madeRows, policyOf } from '../test/support/scoring.ts';
import { measure, report } from './measure.ts';

const batchEvents = 1_000;
const batches = 20;

/** The Handbook job's scoring stage by itself: the model at three batch sizes; rules, encoding and all else without the model. */
export async function benchScoring(runs: number, only: (name: string) => boolean): Promise<void> {
  const set = handbookSet();
  const paths = { onnx: example('model.onnx'), manifest: example('model.json') };
  if (existsSync(paths.onnx)) {
    const model = await createOnnxModel(paths, set);
    for (const rows of [1, 32, 256]) if (only(`onnx.batch-${rows}`)) await benchModel(model, set, rows, runs);
    if (only('scoring.reasons')) await benchReasons(model, set, runs);
    await model.close();
  }
  if (only('scoring.policy-encode')) await benchPolicyAndEncode(set, runs);
}

function example(name: string): string {
  return fileURLToPath(new URL(`../examples/handbook/${name}`, import.meta.url));
}

function handbookSet(): FeatureSet {
  const config = parse(readFileSync(example('weir.yaml'), 'utf8'));
  return compileFeatures(featuresConfig.parse(config.features), {}, layoutOf(eventConfig.parse(config.event)), 0).set!;
}

async function benchModel(model: Model, set: FeatureSet, rows: number, runs: number): Promise<void> {
  const { values } = madeRows(rows, set);
  const calls = Math.ceil(4_000 / rows);
  const perCall: number[] = [];
  for (let run = -1; run < runs; run++) {
    const startedAt = performance.now();
    for (let call = 0; call < calls; call++) await model.score(values, rows);
    if (run >= 0) perCall.push(((performance.now() - startedAt) * 1000) / calls);
  }
  report(`onnx.batch-${rows}`, 'us/call', perCall);
  report(
    `onnx.batch-${rows}`,
    'us/event',
    perCall.map((us) => us / rows),
  );
}

/** What an event that is not approved costs more than one that is. */
async function benchReasons(model: Model, set: FeatureSet, runs: number): Promise<void> {
  const policy = policyOf(set, [{ name: 'all', when: 'probability >= 0', decision: 'review' }]);
  const scorer = createScorer({ model, set, policy, clock: systemClock, mode: 'replay', tokenise: undefined });
  const batch = madeBatch(batchEvents, set.layout);
  const rows = madeRows(batchEvents, set);
  await measure('scoring.reasons', runs, batchEvents, async () =>
    scorer.decide(batch, rows, await scorer.score(rows), { stream: 's', partition: 0 }),
  );
}

async function benchPolicyAndEncode(set: FeatureSet, runs: number): Promise<void> {
  const scorer = createScorer({
    model: fixedModel,
    set,
    policy: policyOf(set, [
      { name: 'model-block', when: 'probability >= 0.9', decision: 'block' },
      { name: 'model-review', when: 'probability >= 0.6', decision: 'review' },
      { name: 'model-challenge', when: 'probability >= 0.3', decision: 'challenge' },
      { name: 'testing', when: 'customer.count.1d > 20 and terminal.ratio.fraud.7d.delay-7d > 0.5', decision: 'block' },
      { name: 'burst', when: 'customer.count.1d > 18', decision: 'review' },
    ]),
    clock: systemClock,
    mode: 'replay',
    tokenise: undefined,
  });
  const batch = madeBatch(batchEvents, set.layout);
  const rows = madeRows(batchEvents, set);
  await measure('scoring.policy-encode', runs, batches * batchEvents, async () => {
    for (let k = 0; k < batches; k++) {
      await scorer.decide(batch, rows, await scorer.score(rows), { stream: 'transactions', partition: 3 });
    }
  });
}

/** Answers at once, 2 % of rows in the alerts; reads no feature, so that there are no reasons to work out. */
const fixedModel: Model = {
  identity: { id: 'fixed', version: '1', sha256: '0'.repeat(64) },
  inputs: [],
  score: async (_rows, count) => Float32Array.from({ length: count }, (_, row) => (row % 50 === 0 ? 0.7 : 0.0123)),
  close: async () => {},
};
