import { describe, expect, it } from '@jest/globals';
import { redisKeys } from '../../features/redis/keys.ts';
import { ownerOf, readSlotRanges, slotCount, slotOf } from '../../features/redis/slots.ts';

describe('slots', () => {
  // 123456789: the check value of the Redis Cluster specification; foo: its documentation of CLUSTER KEYSLOT.
  it.each([
    ['123456789', 0x31c3],
    ['foo', 12_182],
    ['', 0],
  ])('of %j is %i', (tag, slot) => {
    expect(slotOf(tag)).toBe(slot);
  });

  it.each([1, 2, 3, 5, 6, 12])('of 16 groups lie evenly over %i nodes', (nodes) => {
    for (const job of ['card-risk', 'handbook', 'a']) {
      const { slots } = redisKeys({ prefix: 'weir', job, recipe: '9f3a1c2b7d4e', groups: 16 });
      const counts = new Array(nodes).fill(0);
      for (const slot of slots) counts[Math.floor((slot * nodes) / slotCount)]++;
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });

  it('are those of the keys', () => {
    const keys = redisKeys({ prefix: 'weir', job: 'j', recipe: 'r', groups: 256 });
    for (const [group, slot] of keys.slots.entries()) {
      const tag = /\{(.*)\}/.exec(keys.fence(group, 't:0'))![1];
      expect(slotOf(tag)).toBe(slot);
    }
  });

  it('are read with hosts, and the asked host where a node does not know its own', () => {
    const ranges = readSlotRanges(
      [
        [0, 99, ['10.0.0.1', 7000, 'id'], ['10.0.0.9', 7000, 'replica']],
        [100, 200, [null, 7001, 'id']],
        [300, 300, ['', 7002, 'id']],
      ],
      'asked',
    );
    expect([0, 99, 100, 250, 300].map((slot) => ownerOf(slot, ranges))).toEqual([
      '10.0.0.1:7000',
      '10.0.0.1:7000',
      'asked:7001',
      undefined,
      'asked:7002',
    ]);
  });
});
