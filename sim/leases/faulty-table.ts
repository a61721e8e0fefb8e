import type { Lease } from '../../consumers/kinesis/lease.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Random } from '../../runtime/random.ts';
import type { Process, World } from './world.ts';

/** What may go wrong between a worker and its table; each a probability per request. */
export interface TableFaults {
  /** The request never arrives. */
  readonly lost: number;
  /** The request is carried out, its answer never arrives. */
  readonly unanswered: number;
  /** The client gives up, and the request is carried out later. */
  readonly late: number;
  /** The request is sent twice, and the second answer is the one that arrives. */
  readonly twice: number;
  /** A lease is shown as it was a moment ago, or not at all yet. */
  readonly stale: number;
}

export const noFaults: TableFaults = { lost: 0, unanswered: 0, late: 0, twice: 0, stale: 0 };

const timeoutMs = 2_000;
const longestLateMs = 20_000;

/** The table as one worker sees it over its network. */
export function faultyTable(
  table: LeaseTable,
  process: Process,
  world: World,
  faults: () => TableFaults,
  /** The leases as they were a moment ago. */
  before: () => readonly Lease[],
  random: Random,
): LeaseTable {
  function over<T>(ask: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { lost, unanswered, late, twice } = faults();
      const there = 1 + random.below(20);
      const back = 1 + random.below(20);
      const fail = () =>
        process.later(timeoutMs, () => reject(new WeirError('BROKER', 'the lease table does not answer (simulated)')));
      const dice = random.next();
      if (dice < lost) return fail();
      if (dice < lost + late) {
        world.at(world.now + there + random.below(longestLateMs), () => void ask());
        return fail();
      }
      world.at(world.now + there, async () => {
        let answer = await ask();
        if (random.next() < twice) answer = await ask();
        if (random.next() < unanswered) fail();
        else process.later(back, () => resolve(answer));
      });
    });
  }

  return {
    demandShareable: () => over(() => table.demandShareable()),
    list: (isCurrent) =>
      over(async () => {
        const leases = await table.list();
        // Each item for itself comes from a replica that may lag behind.
        return leases.flatMap((lease) =>
          isCurrent || random.next() >= faults().stale ? lease : (before().find(({ key }) => key === lease.key) ?? []),
        );
      }),
    read: (key) => over(() => table.read(key)),
    write: (change) => over(() => table.write(change)),
  };
}
