import { expect, it } from '@jest/globals';
import { newLease } from '../../consumers/kinesis/lease.ts';
import { missingLeases, type Shard, wasRead } from '../../consumers/kinesis/shards.ts';

/** A shard that was split and merged again, over and over: each of the merged ones can be reached by twice as many ways as the one before. */
function splitAndMerged(times: number): Shard[] {
  const shard = (id: number, parents: readonly number[]): Shard => {
    return {
      id: String(id),
      parents: parents.map(String),
      hashRange: { start: '0', end: '1' },
      isOpen: id === 3 * times,
    };
  };
  const cycles = Array.from({ length: times }, (_, cycle) => 3 * cycle);
  return [
    shard(0, []),
    ...cycles.flatMap((id) => [shard(id + 1, [id]), shard(id + 2, [id]), shard(id + 3, [id + 1, id + 2])]),
  ];
}

it('finds out at once whether anything was read of what came from a shard, however often it was split and merged', () => {
  const shards = splitAndMerged(60);
  const last = shards[shards.length - 1].id;
  const leaseAt = (sequence: string) => newLease(last, { sequence, sub: 0 }, []);
  expect(wasRead('0', shards, [leaseAt('TRIM_HORIZON')])).toBe(false);
  expect(wasRead('0', shards, [leaseAt('4968')])).toBe(true);
  expect(wasRead(last, shards, [leaseAt('4968')])).toBe(false);
});

it('finds all leases that are missing between the first shard and the last as fast', () => {
  const shards = splitAndMerged(60);
  const first = newLease('0', { sequence: 'TRIM_HORIZON', sub: 0 }, []);
  expect(missingLeases(shards, [first], 'LATEST')).toHaveLength(shards.length - 1);
});

it('has what follows a shard with a lease begin at its oldest record, also once that shard has left the stream', () => {
  const [first, ...others] = splitAndMerged(1);
  const leases = [newLease(first.id, { sequence: '4961', sub: 0 }, [])];
  const missing = missingLeases(others, leases, 'LATEST');
  expect(missing.map(({ key, checkpoint }) => [key, checkpoint.sequence])).toEqual(
    others.map(({ id }) => [id, 'TRIM_HORIZON']),
  );
});
