import type { LeaseWords } from '../../consumers/kinesis/hand-over.ts';
import type { Random } from '../../runtime/random.ts';
import type { TableFaults } from './faulty-table.ts';
import type { Process, World } from './world.ts';

/** What workers tell each other through Redis: by who it is for and about which lease, the last word that was not heard. */
export interface Mailboxes {
  /** Those of one worker, who looks after what is for it twice a second. @param faults of its network; what is lost counts. */
  open(name: string, process: Process, faults: () => TableFaults, hears: Hears, random: Random): LeaseWords;
}

export interface Hears {
  asked(key: string, by: string): void;
  handed(key: string): void;
}

const lookMs = 500;
const longestWayMs = 20;

export function createMailboxes(world: World): Mailboxes {
  const boxes = new Map<string, Map<string, string | undefined>>();

  function boxOf(name: string): Map<string, string | undefined> {
    const box = boxes.get(name) ?? new Map<string, string | undefined>();
    boxes.set(name, box);
    return box;
  }

  return {
    open(name, process, faults, hears, random) {
      const isLost = () => random.next() < faults().lost;
      const change = (work: () => void) => {
        if (!isLost()) world.at(world.now + 1 + random.below(longestWayMs), work);
      };
      const keepLooking = async () => {
        for (;;) {
          await process.clock.sleep(lookMs);
          if (isLost()) continue;
          const told = [...boxOf(name)];
          boxOf(name).clear();
          for (const [key, by] of told) by === undefined ? hears.handed(key) : hears.asked(key, by);
        }
      };
      void keepLooking();
      return {
        ask: (owner, key) => change(() => boxOf(owner).set(key, name)),
        withdraw: (owner, key) => change(() => boxOf(owner).delete(key)),
        handed: (to, key) => change(() => boxOf(to).set(key, undefined)),
      };
    },
  };
}
