import type { Clock } from '../runtime/clock.ts';
import { clockOf, type VirtualTime } from './clock.ts';

/**
 * A process as the others see it: what reaches it, answers and timers alike, is done at once while it runs, later while it is paused, and
 * never once it is dead. It dies only between two waits, which is where a real one can be told from one that lives on.
 */
export interface SimulatedProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly state: 'running' | 'paused' | 'dead';
  /** Does the work when the process is able to. */
  deliver(work: () => void): void;
  /** All that it holds in memory is gone, nothing that it waits for arrives. */
  kill(): void;
  pause(): void;
  resume(): void;
}

export function createProcess(name: string, time: VirtualTime, epoch: number): SimulatedProcess {
  let state: SimulatedProcess['state'] = 'running';
  let withheld: (() => void)[] = [];

  function deliver(work: () => void): void {
    if (state === 'running') work();
    else if (state === 'paused') withheld.push(work);
  }

  return {
    name,
    clock: clockOf(time, epoch, deliver),
    get state() {
      return state;
    },
    deliver,
    kill() {
      state = 'dead';
      withheld = [];
    },
    pause() {
      if (state === 'running') state = 'paused';
    },
    resume() {
      if (state !== 'paused') return;
      state = 'running';
      // One after the other, each with all that follows from it, as a woken event loop does; meanwhile it may be paused again.
      for (const work of withheld.splice(0)) time.after(0, () => deliver(work));
    },
  };
}
