import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  checkFile,
  checkGolden,
  goldenRows,
  loadManifest,
  type Manifest,
  matchFeatures,
} from '../../scoring/manifest.ts';
import { goldenFile, goldenManifest, goldenSet } from '../support/scoring.ts';

const set = goldenSet();
const manifest = goldenManifest();
const [amount, count] = manifest.features;

/** The manifest with other features, and the hash that belongs to them. */
function withFeatures(features: Manifest['features']): Manifest {
  const lines = features.map(({ name, definition }) => `${name} ${definition}`).join('\n');
  return { ...manifest, features, feature_set: createHash('sha256').update(lines).digest('hex') };
}

describe('a manifest', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-manifest-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const load = (content: unknown) => {
    const path = join(folder, 'model.json');
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return loadManifest(path);
  };

  it('is read as it was written', async () => {
    expect(await loadManifest(goldenFile('model.json'))).toEqual(manifest);
    const { training: _, ...without } = manifest;
    expect((await load(without)).training).toEqual({});
  });

  it.each([
    ['{"format": 1,', /model\.json cannot be read: /],
    [{ ...manifest, format: 2 }, /format: Invalid input: expected 1/],
    [{ ...manifest, refrence: 3 }, /Unrecognized key: "refrence"/],
    [{ ...manifest, sha256: 'abc' }, /sha256: a sha256 in lower-case hex/],
    [{ ...manifest, features: [] }, /features: /],
    [{ ...manifest, features: [{ ...amount, reference: null }] }, /features\.0\.reference: /],
    [{ ...manifest, features: [amount, amount] }, /features\.1\.name: amount stands there twice/],
    [{ ...manifest, golden: [] }, /golden: at least one row is needed/],
    [{ ...manifest, golden: [{ features: [1, 2], probability: 0.5 }] }, /golden\.0\.features: 2 values for 4 features/],
    [{ ...manifest, golden: [{ features: [1, 2, 3, 4], probability: 2 }] }, /golden\.0\.probability: /],
    [{ ...manifest, training: { nested: {} } }, /training\.nested: /],
  ])('that is not valid is refused: %#', async (content, message) => {
    await expect(load(content)).rejects.toMatchObject({ code: 'MODEL', message: expect.stringMatching(message) });
  });

  it('that is missing is refused, by its path', async () => {
    const path = join(folder, 'none.json');
    await expect(loadManifest(path)).rejects.toMatchObject({ code: 'MODEL', message: expect.stringContaining(path) });
  });
});

describe("the model's features", () => {
  it("are found by name among the job's, in the model's order", () => {
    const columns = matchFeatures(manifest, set);
    expect([...columns].map((column) => set.names[column])).toEqual(manifest.features.map(({ name }) => name));
    expect([...matchFeatures(withFeatures([...manifest.features].reverse()), set)]).toEqual([...columns].reverse());
  });

  it('must all be computed by the job', () => {
    const missing = withFeatures([amount, { ...count, name: 'card.cuont.1h' }]);
    expect(() => matchFeatures(missing, set)).toThrow(
      'model test-trees 1 needs the feature card.cuont.1h, which the job does not compute (did you mean card.count.1h?); add it to `features`',
    );
  });

  it('must be computed as they were for the training', () => {
    const other = withFeatures([amount, { ...count, definition: count.definition.replace('3600000', '7200000') }]);
    expect(() => matchFeatures(other, set)).toThrow(
      /was trained on another card\.count\.1h: trained on "count .* within 7200000 ms .*", the job computes "count .* within 3600000 ms .*"; change the feature, or train again/,
    );
  });

  it('must be those that the manifest was signed for', () => {
    const changed = { ...manifest, features: [{ ...amount, definition: 'event amount with 3 decimals' }] };
    expect(() => matchFeatures(changed, set)).toThrow(
      /contradicts itself: feature_set is not the hash of its features/,
    );
    expect(
      matchFeatures({ ...withFeatures([amount]), feature_set: withFeatures([amount]).feature_set }, set),
    ).toHaveLength(1);
  });

  it('are hashed as a feature set is', () => {
    const own = set.names.map((name, index) => ({ name, definition: set.definitions[index], reference: 0 }));
    expect(withFeatures(own).feature_set).toBe(set.hash);
  });
});

describe('the proof of a model', () => {
  it('is the sha256 of its file', () => {
    const bytes = Buffer.from('a model');
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    expect(() => checkFile({ ...manifest, sha256 }, bytes, 'model.onnx')).not.toThrow();
    expect(() => checkFile(manifest, bytes, 'model.onnx')).toThrow(
      `model.onnx is not the file that the manifest of model test-trees 1 describes: its sha256 is ${sha256}, the manifest says ${manifest.sha256}`,
    );
  });

  it('is that golden rows come out as they should, to 1e-5', () => {
    const answers = Float32Array.from(manifest.golden, ({ probability }) => probability + 0.8e-5);
    expect(() => checkGolden(manifest, answers)).not.toThrow();
    answers[3] = 0.25;
    expect(() => checkGolden(manifest, answers)).toThrow(
      `golden row 4 of 6 should be ${manifest.golden[3].probability}, it is 0.25`,
    );
    answers[3] = Number.NaN;
    expect(() => checkGolden(manifest, answers)).toThrow('it is NaN');
  });

  it("lays golden rows out as the job's rows", () => {
    const columns = matchFeatures(manifest, set);
    const rows = goldenRows(manifest, columns, set.names.length);
    expect(rows).toHaveLength(6 * set.names.length);
    for (const [row, { features }] of manifest.golden.entries())
      expect([...columns].map((column) => rows[row * set.names.length + column])).toEqual(features);
  });
});
