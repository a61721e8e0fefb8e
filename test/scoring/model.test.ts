import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Manifest } from '../../scoring/manifest.ts';
import { createOnnxModel } from '../../scoring/onnx/model.ts';
import { createRulesOnlyModel } from '../../scoring/rules-only.ts';
import { describeModelContract } from '../contract/model.ts';
import { goldenFile, goldenManifest, goldenSet, madeRows } from '../support/scoring.ts';

const set = goldenSet();
const paths = { onnx: goldenFile('model.onnx'), manifest: goldenFile('model.json') };

describeModelContract('the ONNX model', { set, open: (of) => createOnnxModel(paths, of) });
describeModelContract('rules only', { set, open: async () => createRulesOnlyModel() });

describe('an ONNX model', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-model-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Opens a file under a manifest that was made for it. */
  function open(onnx: string, change: Partial<Manifest> = {}) {
    const sha256 = createHash('sha256').update(readFileSync(onnx)).digest('hex');
    const manifest = join(folder, 'model.json');
    writeFileSync(manifest, JSON.stringify({ ...goldenManifest(), sha256, ...change }));
    return createOnnxModel({ onnx, manifest }, set);
  }

  it('answers as the library that trained it', async () => {
    const model = await createOnnxModel(paths, set);
    const { golden, features } = goldenManifest();
    const rows = new Float64Array(golden.length * set.names.length);
    for (const [row, { features: values }] of golden.entries())
      for (const [index, { name }] of features.entries())
        rows[row * set.names.length + set.names.indexOf(name)] = values[index];
    const probabilities = await model.score(rows, golden.length);
    for (const [row, { probability }] of golden.entries()) expect(probabilities[row]).toBeCloseTo(probability, 6);
    expect(Math.max(...probabilities) - Math.min(...probabilities)).toBeGreaterThan(0.5);
    expect(model.identity).toEqual({ id: 'test-trees', version: '1', sha256: goldenManifest().sha256 });
    expect(model.inputs.map(({ reference }) => reference)).toEqual([20, 1, 25, 0]);
    await model.close();
  });

  it.each(['column', 'vector'])('may answer a probability as a %s', async (name) => {
    const [{ features }] = goldenManifest().golden;
    const sum = [0.01, 0.2, -0.01, 1].reduce((total, weight, index) => total + weight * features[index], 0);
    const golden = [{ features, probability: 1 / (1 + Math.exp(-sum)) }];
    const model = await open(goldenFile(`${name}.onnx`), { golden });
    expect(await model.score(madeRows(300, set).values, 300)).toHaveLength(300);
    await model.close();
  });

  it.each([
    ['zipmap', /gives output_label \(int64 \[N\]\), output_probability \(no tensor\); .*without ZipMap/],
    ['three-columns', /gives score \(float32 \[N, 3\]\); its one float output must be the probability/],
    ['two-inputs', /takes x \(float32 \[N, 4\]\), y \(float32 \[N, 4\]\); it must take one float32 \[N, 4\]/],
    ['doubles', /takes x \(float64 \[N, 4\]\); it must take one float32 \[N, 4\]/],
    ['no-probability', /answers 3\.19\d*, which is no probability/],
    ['vector', /golden row 1 of 6 should be 0\.0295\d*, it is 0\.5659\d*/],
  ])('of the wrong shape is refused: %s', async (name, message) => {
    await expect(open(goldenFile(`${name}.onnx`))).rejects.toMatchObject({
      code: 'MODEL',
      message: expect.stringMatching(message),
    });
  });

  it('is refused when the file is damaged, no model at all, or missing', async () => {
    const onnx = join(folder, 'damaged.onnx');
    const bytes = readFileSync(paths.onnx);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(onnx, bytes);
    await expect(createOnnxModel({ ...paths, onnx }, set)).rejects.toMatchObject({
      code: 'MODEL',
      message: expect.stringMatching(/damaged\.onnx is not the file that the manifest of model test-trees 1 describes/),
    });
    writeFileSync(onnx, bytes.subarray(0, 3000));
    await expect(open(onnx)).rejects.toMatchObject({ code: 'MODEL', message: expect.stringMatching(/no ONNX model/) });
    await expect(createOnnxModel({ ...paths, onnx: join(folder, 'none.onnx') }, set)).rejects.toMatchObject({
      code: 'MODEL',
      message: expect.stringMatching(/none\.onnx cannot be read: .*ENOENT/),
    });
  });

  it('lets the event loop turn between the chunks of a large batch', async () => {
    const model = await createOnnxModel(paths, set);
    const { values } = madeRows(5_000, set);
    let turns = 0;
    let isDone = false;
    const count = () => {
      turns++;
      if (!isDone) setImmediate(count);
    };
    setImmediate(count);
    await model.score(values, 5_000);
    isDone = true;
    expect(turns).toBeGreaterThanOrEqual(19);
    await model.close();
  });

  it('writes nothing to standard error', async () => {
    const script = `
      import { createOnnxModel } from './scoring/onnx/model.ts';
      import { goldenFile, goldenSet } from './test/support/scoring.ts';
      const set = goldenSet();
      const model = await createOnnxModel({ onnx: goldenFile('model.onnx'), manifest: goldenFile('model.json') }, set);
      await model.score(new Float64Array(set.names.length * 300), 300);
      await model.close();
      console.log('scored');`;
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { cwd: root });
    expect(await run).toEqual({ stdout: 'scored\n', stderr: '' });
  });
});
