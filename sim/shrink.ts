import type { Fault, Plan, PlannedRecord } from './plan.ts';
import { type Outcome, type RunOptions, runPlan } from './run.ts';

/** Most runs that are spent on it. */
const mostRuns = 150;

/** What failed, without where. */
const kindOf = ({ failure }: Outcome) => failure?.replaceAll(/\d+/g, 'N').split('\n')[0];

/** The least plan found that fails in the same way: first with fewer faults, then with fewer records. */
export async function shrink(failed: Outcome, options: RunOptions): Promise<Outcome> {
  let best = failed;
  let runs = 0;

  async function tryPlan(plan: Plan): Promise<boolean> {
    if (runs++ >= mostRuns) return false;
    const outcome = await runPlan(plan, options);
    if (kindOf(outcome) !== kindOf(failed)) return false;
    best = outcome;
    return true;
  }

  await fewer(
    () => best.plan.faults,
    (faults: readonly Fault[]) => tryPlan({ ...best.plan, faults }),
  );
  await fewer(
    () => best.plan.records,
    (records: readonly PlannedRecord[]) => tryPlan({ ...best.plan, records }),
  );
  return best;
}

/** Leaves out halves, quarters and so on down to single ones, as long as it still fails. */
async function fewer<T>(list: () => readonly T[], fails: (rest: readonly T[]) => Promise<boolean>): Promise<void> {
  for (let size = Math.ceil(list().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < list().length; ) {
      const rest = list().filter((_, index) => index < from || index >= from + size);
      if (!(await fails(rest))) from += size;
    }
  }
}
