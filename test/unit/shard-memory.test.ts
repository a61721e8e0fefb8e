import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newLease } from '../../consumers/kinesis/lease.ts';
import { createShardMemory } from '../../consumers/kinesis/shard-memory.ts';

/** Which shards each one came from, of lower numbers: one after a split, two after a merge. */
const family = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.nat(2)), { minLength: 1, maxLength: 12 })
  .map((raw) =>
    raw.map(([one, other, count], at) => [...new Set([one % (at || 1), other % (at || 1)])].slice(0, count)),
  )
  .map((parents) => parents.map((numbers, at) => numbers.filter((number) => number < at)));

it('finds all that a shard came from and nothing else, whether the stream or the table told of it', () => {
  fc.assert(
    fc.property(family, fc.nat(), (parents, told) => {
      const memory = createShardMemory();
      for (const [at, numbers] of parents.entries()) {
        const ids = numbers.map(String);
        const isLeased = ((told >> at) & 1) === 1;
        memory.leased(isLeased ? [newLease(String(at), { sequence: 'TRIM_HORIZON', sub: 0 }, ids)] : []);
        const hashRange = { start: '0', end: '1' };
        memory.listed(isLeased ? [] : [{ id: String(at), parents: ids, hashRange, isOpen: true }]);
      }
      // Told once more by somebody who does not know it.
      memory.leased(parents.map((_, at) => newLease(String(at), { sequence: 'SHARD_END', sub: 0 }, [])));
      const cameFrom = (at: number): number[] => parents[at].flatMap((parent) => [parent, ...cameFrom(parent)]);
      for (let at = 0; at < parents.length; at++)
        expect(memory.ancestors(String(at)).sort()).toEqual([...new Set(cameFrom(at).map(String))].sort());
    }),
  );
});

it('knows that a shard was read to its end once it was', () => {
  const memory = createShardMemory();
  const leaseAt = (sequence: string) => newLease('1', { sequence, sub: 0 }, []);
  memory.leased([leaseAt('4968')]);
  expect(memory.isDone('1')).toBe(false);
  memory.leased([leaseAt('SHARD_END')]);
  memory.leased([leaseAt('4968')]);
  expect(memory.isDone('1')).toBe(true);
});

it('works out once what follows from an answer: with every batch it is asked which shards can be read', () => {
  const memory = createShardMemory();
  const leases = ['1', '2'].map((id) => newLease(id, { sequence: '4968', sub: 0 }, []));
  memory.leased(leases);
  const [known, readable] = [memory.known(), memory.readable()];
  expect([memory.known(), memory.readable()]).toEqual([
    ['1', '2'],
    ['1', '2'],
  ]);
  expect(memory.known()).toBe(known);
  expect(memory.readable()).toBe(readable);
  memory.leased([...leases, newLease('3', { sequence: '4968', sub: 0 }, ['1'])]);
  expect(memory.known()).toEqual(['1', '2', '3']);
  expect(memory.readable()).toEqual(['1', '2']);
});
