import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RawBatch } from '../../consumers/ports.ts';
import { scoreRows } from '../../consumers/scoring.ts';
import type { Model } from '../../scoring/model.ts';
import { createOnnxModel } from '../../scoring/onnx/model.ts';
import { createScorer } from '../../scoring/scorer.ts';
import { clockAt } from '../support/clock.ts';
import { ownedPartition } from '../support/owned-partition.ts';
import { goldenFile, goldenManifest, goldenSet, madeBatch, madeRows, policyOf } from '../support/scoring.ts';

const set = goldenSet();
let folder: string;
/** Answers the logarithm of the sum of the features: a probability where that is 1 to e. */
let model: Model;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-no-score-'));
  const onnx = goldenFile('no-probability.onnx');
  const manifest = join(folder, 'model.json');
  const sha256 = createHash('sha256').update(readFileSync(onnx)).digest('hex');
  const golden = [{ features: [0.5, 0.5, 0.5, 0.5], probability: Math.LN2 }];
  writeFileSync(manifest, JSON.stringify({ ...goldenManifest(), sha256, golden }));
  model = await createOnnxModel({ onnx, manifest }, set);
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});

it('makes a dead letter of each record that the model has no probability for, and scores the others', async () => {
  const offsets = [70, 71, 72, 73, 74];
  const raw: RawBatch = {
    offsets,
    values: offsets.map((offset) => Buffer.from(`record ${offset}`)),
    keys: offsets.map((offset) => Buffer.from(`key ${offset}`)),
    timestamps: offsets.map((offset) => offset * 1_000),
    next: 75,
    end: 75,
  };
  const unreadable = {
    reason: 'not-json',
    message: 'no',
    stream: 'tx',
    partition: 0,
    offset: 72,
    timestamp: 72_000,
  } as const;
  const rows = madeRows(4, set);
  for (const [row, sum] of [2, 0, 20, 2.5].entries()) {
    for (const { column } of model.inputs) rows.values[row * rows.width + column] = sum / model.inputs.length;
  }
  const batch = {
    ...madeBatch(4),
    offsets: Float64Array.of(70, 71, 73, 74),
    rawIndexes: Int32Array.of(0, 1, 3, 4),
  };
  const keys = [70, 71, 73, 74].map((offset) => Buffer.from(`key ${offset}`));
  const deadLetters = [{ ...unreadable, key: raw.keys[2], value: raw.values[2] }];
  const scorer = createScorer({
    model,
    set,
    policy: policyOf(set, []),
    clock: clockAt(() => 0),
    mode: 'live',
    tokenise: undefined,
  });
  const { decoded, scored } = await scoreRows(
    scorer,
    raw,
    { decoded: { batch, keys, deadLetters }, rows },
    ownedPartition('tx'),
  );

  expect(scored.events.map(({ id }) => id)).toEqual(['tx:0:70', 'tx:0:74']);
  expect(scored.events.map(({ data }) => JSON.parse(data.toString()).probability)).toEqual(
    [2, 2.5].map((sum) => Number(Math.log(sum).toFixed(6))),
  );
  expect(decoded.keys.map(String)).toEqual(['key 70', 'key 74']);
  expect(
    decoded.deadLetters.map(({ offset, reason, message, key, value, timestamp }) => [
      offset,
      reason,
      message,
      `${key}`,
      `${value}`,
      timestamp,
    ]),
  ).toEqual([
    [71, 'no-score', 'the model answers -Infinity, which is no probability', 'key 71', 'record 71', 71_000],
    [72, 'not-json', 'no', 'key 72', 'record 72', 72_000],
    [
      73,
      'no-score',
      expect.stringMatching(/^the model answers 2\.99\d*, which is no probability$/),
      'key 73',
      'record 73',
      73_000,
    ],
  ]);
});
