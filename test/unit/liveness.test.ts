import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Liveness, watchLiveness } from '../../consumers/kafka/liveness.ts';
import { clockAt } from '../support/clock.ts';

let now = 0;
let told: (number | undefined)[];
let liveness: Liveness;
beforeEach(() => {
  jest.useFakeTimers();
  now = 100_000;
  told = [];
  const clock = clockAt(() => now);
  liveness = watchLiveness(clock, 10_000, (silentMs) => told.push(silentMs));
});
afterEach(() => {
  liveness.stop();
  jest.useRealTimers();
});

/** Lets time pass, with what happens in each second of it. */
function pass(seconds: number, eachSecond: () => void): void {
  for (let second = 0; second < seconds; second++) {
    now += 1_000;
    eachSecond();
    jest.advanceTimersByTime(1_000);
  }
}

describe('the liveness of the brokers', () => {
  it('is told as lost once, when the coordinator is silent for longer than the limit, and once when it is back', () => {
    pass(60, liveness.heard);
    pass(10, () => {});
    expect(told).toEqual([]);
    pass(20, () => {});
    expect(told).toEqual([11_000]);
    pass(5, liveness.heard);
    expect(told).toEqual([11_000, undefined]);
  });

  it('is that of each broker: one that owes the answer to a fetch is not covered by another that talks', () => {
    liveness.asking(1);
    const talk = () => {
      liveness.heard();
      liveness.asking(2);
      liveness.answered(2);
    };
    pass(20, talk);
    expect(told).toEqual([11_000]);
    // The fetch failed and is repeated: still nothing was answered.
    liveness.asking(1);
    pass(20, talk);
    expect(told).toEqual([11_000]);
    liveness.answered(1);
    pass(1, talk);
    expect(told).toEqual([11_000, undefined]);
  });

  it('does not wait for a broker that leads nothing any more: it has died with a fetch under way', () => {
    liveness.asking(1);
    pass(5, liveness.heard);
    liveness.leading(new Set([2]));
    liveness.asking(2);
    liveness.answered(2);
    pass(60, liveness.heard);
    expect(told).toEqual([]);
  });

  it('waits for one that hangs and leads still, whoever says so', () => {
    liveness.asking(1);
    const talk = () => {
      liveness.heard();
      liveness.leading(new Set([1, 2]));
    };
    pass(100, talk);
    expect(told).toEqual([11_000]);
    liveness.leading(new Set([2]));
    pass(1, liveness.heard);
    expect(told).toEqual([11_000, undefined]);
  });
});
