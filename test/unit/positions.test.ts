import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  type Anchor,
  compareSequences,
  firstNumber,
  readPositions,
  standingOf,
  withAnchor,
  withBeginning,
  withFence,
  writePositions,
} from '../../consumers/kinesis/positions.ts';

const at = (number: number, isJump = false): Anchor => ({
  number,
  users: 1,
  sequence: String(10n ** 55n + BigInt(number)),
  isJump,
});
const never = () => {
  throw new Error('it begins at no time');
};

describe('what a lease keeps of positions', () => {
  it('is read as it was written', () => {
    const place = fc.record({
      number: fc.nat(2 ** 52),
      users: fc.integer({ min: 1, max: 10_000_000 }),
      sequence: fc.bigInt({ min: 1n, max: 2n ** 186n }).map(String),
    });
    const anchor = fc.tuple(place, fc.boolean()).map(([of, isJump]) => ({ ...of, isJump }));
    const origin = fc.record({ number: fc.nat(2 ** 52), time: fc.nat(2 ** 42) });
    const kept = fc.record({
      checkpoint: fc.option(fc.oneof(place, origin), { nil: undefined }),
      anchors: fc.array(anchor, { maxLength: 12 }),
    });
    fc.assert(
      fc.property(kept, (positions) => {
        expect(readPositions(writePositions(positions), 'shardId-0')).toEqual(positions);
      }),
    );
  });

  it('is few places, however long state was stored', () => {
    let anchors: readonly Anchor[] = [at(firstNumber, true)];
    for (let distance = 1; distance < 2 ** 36; distance = Math.ceil(distance * 1.02)) {
      anchors = withFence(anchors, at(firstNumber + distance));
    }
    expect(anchors.length).toBeLessThanOrEqual(9);
  });

  it.each(['7', '7+1 E2g', '7+1:E.g', '7+1?:E2g', '123456789abc+1:E2g', '7+1:', '7+1!!:E2g'])(
    'is refused when it is not ours: %s',
    (text) => {
      expect(() => readPositions({ weirCheckpoint: text }, 'shardId-0')).toThrow(/shardId-0.*weirCheckpoint/);
      expect(() => readPositions({ weirFence: text }, 'shardId-0')).toThrow(/shardId-0.*weirFence/);
    },
  );

  it('orders sequence numbers as numbers', () => {
    const number = fc.bigInt({ min: 0n, max: 2n ** 186n });
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(Math.sign(compareSequences(String(a), String(b)))).toBe(a < b ? -1 : a > b ? 1 : 0);
      }),
    );
  });
});

describe('anchors', () => {
  it('thin out with their distance, and those at jumps stay', () => {
    let anchors: readonly Anchor[] = [at(1_000, true), at(5_000, true)];
    for (let number = 6_000; number <= 20_000_000; number += 1_000) anchors = withFence(anchors, at(number));
    const numbers = anchors.map(({ number }) => number);
    expect(numbers.slice(0, 2)).toEqual([1_000, 5_000]);
    expect(numbers.at(-1)).toBe(20_000_000);
    expect(numbers.length).toBeLessThan(9);
    // For any place further back there is an anchor before it, at most some hundred times as far.
    for (const distance of [4_096, 40_000, 400_000, 4_000_000]) {
      const before = numbers.filter((number) => number <= 20_000_000 - distance);
      expect(before.length).toBeGreaterThan(0);
      expect(20_000_000 - before.at(-1)!).toBeLessThan(distance * 300);
    }
  });

  it('keep what lies ahead, while state is made again', () => {
    const anchors = [at(10, true), at(500), at(900)];
    expect(withFence(anchors, at(100)).map(({ number }) => number)).toEqual([10, 100, 500, 900]);
  });

  it('keep the last before each jump: no other leads back to what lies before it', () => {
    const anchors = [at(10), at(500), at(501), at(1_000_000, true)];
    expect(withFence(anchors, at(1_000_050)).map(({ number }) => number)).toEqual([10, 501, 1_000_000, 1_000_050]);
  });

  it('have one number for a place', () => {
    const anchors = [at(10), at(20)];
    expect(withAnchor(anchors, { ...at(20), number: 15 })).toBe(anchors);
  });

  it('jump at a new beginning and at what comes behind it', () => {
    const anchors = [at(10), at(500), at(900)];
    expect(withBeginning(anchors, at(100))).toEqual([at(10), at(100, true), at(500, true), at(900)]);
  });
});

describe("a checkpoint's standing", () => {
  const sequence = (number: number) => at(number).sequence;

  it('is the first number where nothing is known, and that is kept', () => {
    expect(standingOf({ sequence: sequence(40), sub: 2 }, { checkpoint: undefined, anchors: [] }, never)).toEqual({
      kind: 'known',
      position: firstNumber + 3,
      kept: { checkpoint: { number: firstNumber, users: 3, sequence: sequence(40) }, anchors: [] },
    });
    for (const [sentinel, time] of [
      ['TRIM_HORIZON', 0],
      ['LATEST', 77],
      ['AT_TIMESTAMP', 77],
    ] as const) {
      const standing = standingOf({ sequence: sentinel, sub: 0 }, { checkpoint: undefined, anchors: [] }, () => 77);
      const kept = { checkpoint: { number: firstNumber, time }, anchors: [] };
      expect(standing).toEqual({ kind: 'known', position: firstNumber, kept });
      // A later owner begins at the same time.
      expect(standingOf({ sequence: sentinel, sub: 0 }, kept, never)).toEqual({
        kind: 'known',
        position: firstNumber,
        kept,
      });
    }
  });

  it('follows from what was kept with it', () => {
    const kept = { checkpoint: { number: 40, users: 9, sequence: sequence(40) }, anchors: [at(10)] };
    expect(standingOf({ sequence: sequence(40), sub: 4 }, kept, never)).toEqual({ kind: 'known', position: 45, kept });
  });

  it('is counted where somebody else has moved it', () => {
    const kept = { checkpoint: { number: 40, users: 1, sequence: sequence(40) }, anchors: [at(10), at(30)] };
    const moved = (number: number) => standingOf({ sequence: sequence(number), sub: 0 }, kept, never);
    expect(moved(70)).toEqual({ kind: 'moved', from: { ...at(40), isJump: false } });
    expect(moved(35)).toEqual({ kind: 'moved', from: at(30) });
    expect(moved(5)).toEqual({ kind: 'moved', from: undefined });
  });

  it('is unread again where somebody has set it back to the beginning', () => {
    const kept = { checkpoint: { number: 40, users: 1, sequence: sequence(40) }, anchors: [at(10)] };
    expect(standingOf({ sequence: 'TRIM_HORIZON', sub: 0 }, kept, never)).toEqual({
      kind: 'known',
      position: undefined,
      kept,
    });
  });
});
