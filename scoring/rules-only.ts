import { createHash } from 'node:crypto';
import type { Model } from './model.ts';

/** The model of jobs that have none: probability 0 for all, so that only rules over features decide. */
export function createRulesOnlyModel(): Model {
  return {
    identity: { id: 'rules-only', version: '1', sha256: createHash('sha256').digest('hex') },
    inputs: [],
    score: async (_rows, count) => new Float32Array(count),
    close: async () => {},
  };
}
