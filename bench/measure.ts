/** One benchmark result; printed as a JSON line. */
export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
}

export function report(name: string, unit: string, values: readonly number[]): Result {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const result = {
    name,
    unit,
    median: round(median),
    min: round(sorted[0]),
    max: round(sorted[sorted.length - 1]),
    runs: sorted.length,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return result;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** Runs the work `runs` times after one run to warm up, and reports microseconds per item. */
export async function measure(name: string, runs: number, items: number, work: () => unknown): Promise<Result> {
  await work();
  const values: number[] = [];
  for (let run = 0; run < runs; run++) {
    const startedAt = performance.now();
    await work();
    values.push(((performance.now() - startedAt) * 1000) / items);
  }
  return report(name, 'us/event', values);
}
