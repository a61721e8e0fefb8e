import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { FeatureSet } from '../../features/plan.ts';
import type { Model } from '../../scoring/model.ts';
import { madeRows } from '../support/scoring.ts';

/** How a model adapter is put to the test. */
export interface ModelHarness {
  /** Features of the job that the model is loaded for. */
  readonly set: FeatureSet;
  open(set: FeatureSet): Promise<Model>;
}

/** What the port promises, whatever the adapter. */
export function describeModelContract(name: string, { set, open }: ModelHarness): void {
  describe(`${name} keeps the model contract`, () => {
    const width = set.names.length;
    let model: Model;
    beforeAll(async () => {
      model = await open(set);
    });
    afterAll(() => model?.close());

    it('answers a probability for each row, and nothing for none', async () => {
      const probabilities = await model.score(madeRows(1000, set).values, 1000);
      expect(probabilities).toHaveLength(1000);
      expect([...probabilities].every((probability) => probability >= 0 && probability <= 1)).toBe(true);
      expect(await model.score(new Float64Array(0), 0)).toHaveLength(0);
    });

    it('scores the count only, however long the rows are', async () => {
      const { values } = madeRows(10, set);
      expect(await model.score(values, 4)).toEqual((await model.score(values, 10)).slice(0, 4));
    });

    it('answers the same to the last bit, whatever rows are scored with it', async () => {
      const { values } = madeRows(700, set);
      const together = await model.score(values, 700);
      for (const row of [0, 1, 255, 256, 257, 511, 512, 699]) {
        const alone = await model.score(values.slice(row * width, (row + 1) * width), 1);
        expect([row, alone[0]]).toEqual([row, together[row]]);
      }
    });

    it('keeps calls that are under way at the same time apart', async () => {
      const batches = [1, 2, 3, 4].map((seed) => madeRows(600, set, seed).values);
      const one = [];
      for (const values of batches) one.push(await model.score(values, 600));
      expect(await Promise.all(batches.map((values) => model.score(values, 600)))).toEqual(one);
    });

    it('leaves the rows as they are and its answers to the caller', async () => {
      const { values } = madeRows(20, set);
      const before = values.slice();
      const first = await model.score(values, 20);
      const kept = first.slice();
      await model.score(madeRows(20, set, 9).values, 20);
      expect(values).toEqual(before);
      expect(first).toEqual(kept);
    });

    it('reads the columns that it names and no others', async () => {
      const { values } = madeRows(50, set);
      const probabilities = await model.score(values, 50);
      const read = new Set(model.inputs.map(({ column }) => column));
      for (const { column, feature } of model.inputs) expect(feature).toBe(set.names[column]);
      const spoiled = values.map((value, at) => (read.has(at % width) ? value : 1e9));
      expect(await model.score(spoiled, 50)).toEqual(probabilities);
    });

    it('names itself', () => {
      expect(model.identity.id).not.toBe('');
      expect(model.identity.version).not.toBe('');
      expect(model.identity.sha256).toMatch(/^[0-9a-f]{64}$/);
    });
  });
}
