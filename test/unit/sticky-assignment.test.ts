import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { assignmentChange } from '../../consumers/kafka/assignment.ts';
import { assignSticky, type Claimant } from '../../consumers/kafka/sticky-assignment.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);
const nobody = new Map<string, readonly number[]>();

/** Members as they join after an assignment, named by their ids. */
function joining(assignment: ReadonlyMap<string, readonly number[]>, generation: number): Claimant[] {
  return [...assignment].map(([id, owned]) => ({ id, name: id, owned, generation }));
}

const fresh = (id: string): Claimant => ({ id, name: id, owned: [], generation: -1 });

/** Any claims at all: overlapping, of partitions that are no more, of any generation. */
const anyMembers = fc
  .uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 })
  .chain((ids) =>
    fc.tuple(
      ...ids.map((id) =>
        fc.record({
          id: fc.constant(id),
          name: fc.option(fc.constantFrom('one', 'two', 'three'), { nil: undefined }),
          owned: fc.uniqueArray(fc.nat(30), { maxLength: 12 }),
          generation: fc.integer({ min: -1, max: 3 }),
        }),
      ),
    ),
  );

const anyFormer = fc
  .dictionary(fc.constantFrom('one', 'two', 'three'), fc.uniqueArray(fc.nat(30)))
  .map((names) => new Map(Object.entries(names)));

describe('the sticky assignment', () => {
  it('gives each partition to one member, evenly, whatever they claim and in whatever order they come', () => {
    fc.assert(
      fc.property(fc.nat(24), anyMembers, anyFormer, (count, members, former) => {
        const assigned = assignSticky(upTo(count), members, former);
        const counts = members.map(({ id }) => assigned.get(id)!.length);
        expect([...assigned.values()].flat().sort((a, b) => a - b)).toEqual(upTo(count));
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
        const again = assignSticky(upTo(count).reverse(), [...members].reverse(), former);
        expect(new Map([...again].sort())).toEqual(new Map([...assigned].sort()));
      }),
    );
  });

  it('moves nothing while the members stay, and no more than it must when one comes or goes', () => {
    fc.assert(
      fc.property(fc.nat(24), fc.integer({ min: 2, max: 8 }), fc.nat(7), (count, size, leaver) => {
        const names = upTo(size).map((n) => `p${n}`);
        const before = assignSticky(upTo(count), names.map(fresh), nobody);
        expect(assignSticky(upTo(count), joining(before, 1), nobody)).toEqual(new Map([...before].sort(byCount)));

        const gone = names[leaver % size];
        const left = joining(before, 1).filter(({ id }) => id !== gone);
        const without = assignSticky(upTo(count), left, nobody);
        for (const { id, owned } of left) expect(without.get(id)).toEqual(expect.arrayContaining([...owned]));

        const joined = [...joining(without, 2), fresh('new')];
        const withNew = assignSticky(upTo(count), joined, nobody);
        const moved = joined.flatMap(({ id, owned }) =>
          owned.filter((partition) => !withNew.get(id)!.includes(partition)),
        );
        expect(moved.sort()).toEqual([...withNew.get('new')!].sort());
      }),
    );
  });

  it('gives a process that comes back what it had when it left, and everybody else as before', () => {
    fc.assert(
      fc.property(fc.nat(24), fc.integer({ min: 2, max: 8 }), fc.nat(7), (count, size, leaver) => {
        const names = upTo(size).map((n) => `p${n}`);
        const before = assignSticky(upTo(count), names.map(fresh), nobody);
        const gone = names[leaver % size];
        const without = assignSticky(
          upTo(count),
          joining(before, 1).filter(({ id }) => id !== gone),
          before,
        );
        // The coordinator gives every newcomer another id.
        const back = { ...fresh('another id'), name: gone };
        const after = assignSticky(upTo(count), [...joining(without, 2), back], before);
        expect(after.get('another id')).toEqual(before.get(gone));
        for (const name of names) if (name !== gone) expect(after.get(name)).toEqual(before.get(name));
      }),
    );
  });

  it('moves no more to a process that comes back than its share by now', () => {
    const [b, c] = [upTo(4), [4, 5, 6, 7]].map((owned, n) => ({ id: 'bc'[n], owned, generation: 1 }));
    const assigned = assignSticky(upTo(8), [{ ...fresh('a'), name: 'a' }, b, c], new Map([['a', upTo(8)]]));
    expect(assigned).toEqual(new Map(Object.entries({ c: [4, 5, 6], a: [0, 1, 2], b: [3, 7] })));
  });

  it('moves no more than it must to a newcomer that calls itself as another member does', () => {
    const working = { id: 'a', name: 'same', owned: [0, 1], generation: 1 };
    const newcomer = { ...fresh('b'), name: 'same' };
    const assigned = assignSticky([0, 1], [working, newcomer], new Map([['same', [0, 1]]]));
    expect(assigned).toEqual(new Map(Object.entries({ a: [0], b: [1] })));
  });

  it('believes the newer generation', () => {
    const old = { id: 'a', owned: [0, 1], generation: 3 };
    const newer = { id: 'b', owned: [0], generation: 4 };
    const assigned = assignSticky([0, 1], [old, newer], nobody);
    expect(assigned).toEqual(
      new Map([
        ['a', [1]],
        ['b', [0]],
      ]),
    );
  });

  it('spreads the partitions of a topic that has grown, and moves none of the others', () => {
    const before = assignSticky(upTo(4), [fresh('a'), fresh('b')], nobody);
    const after = assignSticky(upTo(8), joining(before, 1), nobody);
    for (const [id, owned] of before) expect(after.get(id)).toEqual(expect.arrayContaining(owned));
  });
});

const byCount = ([, a]: [string, number[]], [, b]: [string, number[]]) => b.length - a.length;

describe('an assignment', () => {
  const before = { memberId: 'm', generation: 4, partitions: [0, 1, 2] };

  it('keeps what the same member has again in the next generation, or in the same one', () => {
    for (const generation of [4, 5])
      expect(assignmentChange(before, { memberId: 'm', generation, partitions: [1, 2, 3] })).toEqual({
        kept: [1, 2],
        gained: [3],
        lost: [0],
      });
  });

  it.each([
    ['of a generation that it missed', { memberId: 'm', generation: 6 }],
    ['to a member that was thought dead', { memberId: 'n', generation: 5 }],
    ['of a group that has begun anew', { memberId: 'm', generation: 1 }],
  ])('keeps nothing %s', (_, word) => {
    expect(assignmentChange(before, { ...word, partitions: [1, 3] })).toEqual({
      kept: [],
      gained: [1, 3],
      lost: [0, 1, 2],
    });
  });

  it('is all gain at first', () => {
    expect(assignmentChange(undefined, before)).toEqual({ kept: [], gained: [0, 1, 2], lost: [] });
  });
});
