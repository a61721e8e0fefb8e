import { type Clock, systemClock } from '../../runtime/clock.ts';

/** A clock that says what it is told; waits are real ones. */
export function clockAt(now: () => number, monotonic = now): Clock {
  return { ...systemClock, now, monotonic };
}
