import type { TransactionBatch } from './columns.ts';
import type { FeatureSet } from './plan.ts';
import type { FeatureRows } from './rows.ts';

const dayMs = 86_400_000;

/** Writes what the event itself says, at `base` on. */
export function eventFeatures(
  set: FeatureSet,
  batch: TransactionBatch,
  row: number,
  out: FeatureRows,
  base: number,
): void {
  for (const feature of set.eventFeatures) {
    const at = base + feature.column;
    if (feature.source === 'field') {
      const value = batch.numbers[feature.field][row];
      const missing = Number.isNaN(value);
      out.values[at] = missing ? 0 : value / feature.divisor;
      if (missing) out.states[at] = 1;
    } else {
      out.values[at] = eventCalendar(feature.source, batch.times[row]);
    }
  }
}

/** 1 or 0 by the UTC calendar; the night is 00:00 to 06:59, the weekend Saturday and Sunday. 1970-01-01 was a Thursday. */
function eventCalendar(source: 'is-weekend' | 'is-night', time: number): number {
  if (source === 'is-night') return Math.floor(time / 3_600_000) % 24 <= 6 ? 1 : 0;
  return (Math.floor(time / dayMs) + 3) % 7 >= 5 ? 1 : 0;
}
