import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { loadJob } from '../../consumers/load-config.ts';
import { createOnnxModel } from '../../scoring/onnx/model.ts';

const folder = fileURLToPath(new URL('../..', import.meta.url));
const env = { HANDBOOK_CSV: 'any.csv' };

/** Opening a model proves its checksum, its golden rows and the definition of each of its features. */
describe('the bundled models', () => {
  it.each(['demo/weir.yaml', 'kafka/weir.yaml', 'handbook/weir.yaml', 'handbook/kafka.yaml'])(
    'fit examples/%s',
    async (name) => {
      const { config, set } = loadJob(`${folder}/examples/${name}`, { overrides: [], env, folder });
      const model = await createOnnxModel(config.model, set);
      expect(model.inputs.map(({ feature }) => feature)).toEqual(set.names);
      const ordinary = new Float64Array(set.names.length);
      for (const { column, reference } of model.inputs) ordinary[column] = reference;
      const [probability] = await model.score(ordinary, 1);
      expect(probability).toBeLessThan(0.02);
      await model.close();
    },
  );
});
