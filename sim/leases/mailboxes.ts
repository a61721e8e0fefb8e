import type { Signal } from '../../features/redis/signal.ts';
import type { Random } from '../../runtime/random.ts';
import type { TableFaults } from './faulty-table.ts';
import type { Process, World } from './world.ts';

/** What workers tell each other through Redis: by who it is for and what it is about, the last word that was not heard. */
export interface Mailboxes {
  /** Of one worker, who looks after what is for it twice a second. @param faults of its network; what is lost counts. */
  open(process: Process, faults: () => TableFaults, random: Random): Mailbox;
}

export type Mailbox = Pick<Signal, 'tell' | 'hear'>;

const lookMs = 500;
const longestWayMs = 20;

export function createMailboxes(world: World): Mailboxes {
  const boxes = new Map<string, Map<string, string>>();

  function boxOf(name: string): Map<string, string> {
    const box = boxes.get(name) ?? new Map<string, string>();
    boxes.set(name, box);
    return box;
  }

  return {
    open(process, faults, random) {
      const isLost = () => random.next() < faults().lost;
      const change = async (work: () => void) => {
        if (!isLost()) world.at(world.now + 1 + random.below(longestWayMs), work);
      };
      const keepLooking = async (name: string, onTold: (about: string, word: string) => void) => {
        for (;;) {
          await process.clock.sleep(lookMs);
          if (isLost()) continue;
          const told = [...boxOf(name)];
          boxOf(name).clear();
          for (const [about, word] of told) onTold(about, word);
        }
      };
      return {
        tell: (name, about, word) => change(() => boxOf(name).set(about, word)),
        hear: (name, onTold) => void keepLooking(name, onTold),
      };
    },
  };
}
