import type { Clock } from '../runtime/clock.ts';
import type { Chance } from './random.ts';

/** Time that passes only when nothing is left to do, in one order for one seed. */
export interface VirtualTime {
  /** Milliseconds since the run began. */
  now(): number;
  /** Does the work once, after so many milliseconds; what is due at the same time comes in an order by chance. Calling the answer prevents it. */
  after(ms: number, work: () => void): () => void;
  /** Does what is due next, and all that follows from it without waiting. False: nothing is due any more. */
  step(): Promise<boolean>;
}

interface Due {
  readonly at: number;
  readonly rank: number;
  work: (() => void) | undefined;
}

export function createVirtualTime(chance: Chance): VirtualTime {
  const heap: Due[] = [];
  let now = 0;
  const isBefore = (a: Due, b: Due) => a.at < b.at || (a.at === b.at && a.rank < b.rank);

  function push(due: Due): void {
    let at = heap.push(due) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && isBefore(due, heap[parent]); parent = (at - 1) >> 1) {
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = due;
  }

  function pop(): Due | undefined {
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return first;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return first;
  }

  return {
    now: () => now,
    after(ms, work) {
      const due: Due = { at: now + Math.max(0, ms), rank: chance.next(), work };
      push(due);
      return () => {
        due.work = undefined;
      };
    },
    async step() {
      for (let due = pop(); due !== undefined; due = pop()) {
        if (due.work === undefined) continue;
        now = due.at;
        due.work();
        await settled();
        return true;
      }
      return false;
    },
  };
}

/** All promises that can settle without the passing of time have settled. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * A clock of virtual time.
 * @param epoch wall-clock time at the run's beginning, milliseconds since 1970.
 * @param deliver does the work that is due, when whoever waits for it is able to.
 */
export function clockOf(time: VirtualTime, epoch: number, deliver: (work: () => void) => void): Clock {
  const after = (ms: number, work: () => void) => time.after(ms, () => deliver(work));
  return {
    now: () => epoch + Math.floor(time.now()),
    monotonic: time.now,
    after,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) {
          resolve(false);
          return;
        }
        const cancel = after(ms, () => {
          signal?.removeEventListener('abort', stop);
          resolve(true);
        });
        function stop() {
          cancel();
          resolve(false);
        }
        signal?.addEventListener('abort', stop, { once: true });
      }),
  };
}
