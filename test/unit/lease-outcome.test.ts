import { describe, expect, it } from '@jest/globals';
import { shardEnd } from '../../consumers/kinesis/checkpoint.ts';
import { newLease } from '../../consumers/kinesis/lease.ts';
import type { LeaseChange } from '../../consumers/kinesis/lease-change.ts';
import { outcomeOf } from '../../consumers/kinesis/lease-outcome.ts';

const unowned = { ...newLease('shardId-000000000000', { sequence: '4968', sub: 0 }, []), counter: 7 };
const mine = { ...unowned, owner: 'me' };
const checkpoint = { sequence: '4999', sub: 2 };
const made = { ...mine, counter: 8, checkpoint };

const take: LeaseChange = { kind: 'take', lease: { ...unowned, owner: 'other' }, owner: 'me' };
const retake: LeaseChange = { kind: 'take', lease: mine, owner: 'me' };
const give: LeaseChange = { kind: 'give', lease: mine, owner: 'other' };
const renew: LeaseChange = { kind: 'renew', lease: mine };
const write: LeaseChange = { kind: 'checkpoint', lease: mine, checkpoint };
const positions = { weirFence: '7+3:E2g' };
const place: LeaseChange = { ...write, positions };
const end: LeaseChange = { kind: 'checkpoint', lease: { ...mine, positions }, checkpoint: shardEnd };
const children: LeaseChange = { kind: 'children', lease: mine, children: ['a', 'b'] };

describe('what became of a change', () => {
  it.each([
    ['a take that was made', take, { ...mine, counter: 8 }, 'done'],
    ['a take that never arrived', take, { ...unowned, owner: 'other' }, 'again'],
    ['a take that another worker was faster at', take, { ...unowned, owner: 'third', counter: 8 }, 'refused'],
    ['a take whose lease was renewed', take, { ...unowned, owner: 'other', counter: 8 }, 'refused'],
    ['a take of long ago', take, { ...mine, counter: 9 }, 'refused'],
    ['a take of what is its own still, behind a renewal that was late', retake, { ...mine, counter: 8 }, 'again'],
    ['a renewal that was made', renew, { ...mine, counter: 8 }, 'done'],
    ['a renewal that never arrived', renew, mine, 'again'],
    ['a renewal of what was taken', renew, { ...mine, owner: 'other', counter: 8 }, 'refused'],
    ['a renewal of what was given up', renew, { ...unowned, counter: 8 }, 'refused'],
    ['a renewal of what is handed over', renew, { ...mine, counter: 8, checkpointOwner: 'me' }, 'refused'],
    ['a renewal of what was lost and taken again', renew, { ...mine, counter: 9 }, 'refused'],
    ['a renewal of what is gone', renew, undefined, 'refused'],
    ['a checkpoint that was made', write, made, 'done'],
    ['a checkpoint that never arrived', write, mine, 'again'],
    ['a checkpoint behind a renewal that was late', write, { ...mine, counter: 8 }, 'again'],
    ['a place that was noted with a checkpoint', place, { ...made, positions }, 'done'],
    ['an end that was written, and what was noted before', end, { ...made, checkpoint: shardEnd, positions }, 'done'],
    ['a place that was not, at the checkpoint that there was', place, made, 'again'],
    ['a checkpoint of what was lost and taken again', write, { ...made, counter: 9 }, 'refused'],
    ['children that were noted', children, { ...mine, children: ['b', 'a'] }, 'done'],
    ['children that were not', children, { ...mine, children: ['a'] }, 'again'],
    ['children of what was taken', children, { ...mine, owner: 'other' }, 'refused'],
    ['a lease that was handed over', give, { ...mine, owner: 'other', counter: 8 }, 'done'],
    ['a lease that was handed over, and gone on with', give, { ...mine, owner: 'other', counter: 11 }, 'done'],
    ['a lease that was not handed over', give, mine, 'again'],
    ['a lease that was renewed late, and not handed over', give, { ...mine, counter: 8 }, 'again'],
    ['a lease that was stolen before it was handed over', give, { ...mine, owner: 'third', counter: 8 }, 'refused'],
    ['a lease that was lost and taken again before', give, { ...mine, counter: 9 }, 'refused'],
    ['a lease that was created', { kind: 'create', lease: unowned }, mine, 'done'],
    ['a lease that was not', { kind: 'create', lease: unowned }, undefined, 'again'],
    ['a lease that was given up', { kind: 'evict', lease: mine }, { ...unowned, counter: 8 }, 'done'],
    ['a lease that was given up and taken', { kind: 'evict', lease: mine }, { ...mine, owner: 'other' }, 'done'],
    ['a lease that was not given up', { kind: 'evict', lease: mine }, mine, 'again'],
    ['a lease that was deleted', { kind: 'delete', lease: mine }, undefined, 'done'],
    ['a lease that was not deleted', { kind: 'delete', lease: mine }, mine, 'again'],
  ] as const)('%s', (_name, change, found, kind) => {
    expect(outcomeOf(change as LeaseChange, found, 'me').kind).toBe(kind);
  });

  it('goes on from the lease as it is', () => {
    const late = { ...mine, counter: 8 };
    expect(outcomeOf(write, late, 'me')).toEqual({ kind: 'again', lease: late });
    expect(outcomeOf(write, made, 'me')).toEqual({ kind: 'done', lease: made });
  });
});
