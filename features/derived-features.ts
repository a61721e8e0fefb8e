import type { FeatureSet } from './plan.ts';
import { type FeatureRows, featureStates } from './rows.ts';

/** Each as exact as the least exact feature that it reads. */
export function derivedFeatures({ derived }: FeatureSet, out: FeatureRows, base: number): void {
  const read = (column: number) => out.values[base + column];
  for (const { column, uses, evaluate } of derived) {
    const value = evaluate(read);
    let state = 0;
    for (const used of uses) state = Math.max(state, out.states[base + used]);
    // What it reads may be absent where the expression still has a value.
    if (state <= absent) state = Number.isNaN(value) ? absent : 0;
    out.values[base + column] = Number.isNaN(value) ? 0 : value;
    out.states[base + column] = state;
  }
}

const absent = featureStates.indexOf('absent');
