import type { Clock } from '../../runtime/clock.ts';

/** Virtual time for several processes: nothing waits, everything happens in the order of its time. Milliseconds. */
export interface World {
  readonly now: number;
  /** Does the work at the time, after what was asked for the same time before. */
  at(time: number, work: () => void): void;
  /** Lets time pass until then. */
  run(until: number): Promise<void>;
}

export function createWorld(): World {
  let now = 0;
  let asked = 0;
  const queue: { readonly time: number; readonly order: number; readonly work: () => void }[] = [];

  return {
    get now() {
      return now;
    },
    at(time, work) {
      const entry = { time: Math.max(time, now), order: asked++, work };
      let low = 0;
      let high = queue.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (queue[middle].time > entry.time) low = middle + 1;
        else high = middle;
      }
      queue.splice(low, 0, entry);
    },
    async run(until) {
      for (;;) {
        // All that follows from the last event happens before time goes on.
        await new Promise((resolve) => setImmediate(resolve));
        const next = queue.at(-1);
        if (next === undefined || next.time > until) break;
        queue.pop();
        now = next.time;
        next.work();
      }
      now = until;
    },
  };
}

/** A process in the world, with a clock of its own that goes wrong. */
export interface Process {
  readonly clock: Clock;
  readonly isRunning: boolean;
  /** When it last stood still no more. */
  readonly wokeAt: number;
  /** Stands still as a suspended process does: what becomes due meanwhile happens when it wakes up. */
  pause(forMs: number): void;
  /** Nothing of it happens any more. */
  crash(): void;
  /** Does the work in so many milliseconds of the world, if the process is then running; once it wakes up, if not. */
  later(ms: number, work: () => void): void;
}

/** @param rate how fast the process's clock goes: 1.01 gains a hundredth. @param offsetMs what it is ahead by at the start. */
export function createProcess(world: World, rate: number, offsetMs: number): Process {
  let pausedUntil = 0;
  let hasCrashed = false;

  function when(time: number, work: () => void): void {
    world.at(time, () => {
      if (hasCrashed) return;
      if (world.now < pausedUntil) when(pausedUntil, work);
      else work();
    });
  }
  const later = (ms: number, work: () => void) => when(world.now + ms, work);
  const read = () => offsetMs + world.now * rate;

  return {
    clock: {
      now: read,
      monotonic: read,
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted) return resolve(false);
          signal?.addEventListener('abort', () => resolve(false), { once: true });
          later(ms / rate, () => resolve(true));
        }),
      after(ms, work) {
        let isCancelled = false;
        later(ms / rate, () => {
          if (!isCancelled) work();
        });
        return () => {
          isCancelled = true;
        };
      },
    },
    get isRunning() {
      return !hasCrashed && world.now >= pausedUntil;
    },
    get wokeAt() {
      return pausedUntil;
    },
    pause(forMs) {
      pausedUntil = Math.max(pausedUntil, world.now + forMs);
    },
    crash() {
      hasCrashed = true;
    },
    later,
  };
}
