import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { deaggregate, type UserRecords } from '../../consumers/kinesis/deaggregate.ts';
import { hashFilter } from '../../consumers/kinesis/hash-range.ts';
import { aggregate, field, framed, number, type ProducedRecord } from '../support/aggregate.ts';

const largest = 2n ** 128n - 1n;
const everything = { start: '0', end: String(largest) };
const lowerHalf = { start: '0', end: String(largest / 2n) };
const upperHalf = { start: String(largest / 2n + 1n), end: String(largest) };

function taken(data: Buffer, range = everything): UserRecords & { readonly count: number } {
  const into: UserRecords = { keys: [], values: [], subs: [] };
  return { ...into, count: deaggregate('own key', data, hashFilter(range), into) };
}

/** The records as columns, seen without anything from the product. */
function columnsOf(records: readonly ProducedRecord[], isTaken = (_: ProducedRecord) => true) {
  const kept = [...records.entries()].filter(([, record]) => isTaken(record));
  return {
    keys: kept.map(([, { key }]) => key),
    values: kept.map(([, { data }]) => Buffer.from(data).toString('hex')),
    subs: kept.map(([sub]) => sub),
    count: records.length,
  };
}

function readable({ keys, values, subs, count }: UserRecords & { readonly count: number }) {
  return { keys: keys.map(String), values: values.map((value) => value.toString('hex')), subs, count };
}

const hashOf = ({ key, explicitHash }: ProducedRecord) =>
  explicitHash === undefined ? BigInt(`0x${createHash('md5').update(key).digest('hex')}`) : BigInt(explicitHash);

const produced = fc.array(
  fc.record(
    {
      key: fc.oneof(fc.constantFrom('a', 'b', 'größer'), fc.string({ unit: 'binary', minLength: 1, maxLength: 256 })),
      explicitHash: fc.bigInt({ min: 0n, max: largest }).map(String),
      data: fc.uint8Array({ maxLength: 400 }),
      tags: fc.array(fc.string(), { maxLength: 2 }),
    },
    { requiredKeys: ['key', 'data'] },
  ),
  { maxLength: 200 },
);

describe('de-aggregation', () => {
  it('gives what was aggregated, each at its index', () => {
    fc.assert(
      fc.property(produced, (records) => {
        expect(readable(taken(aggregate(records)))).toEqual(columnsOf(records));
      }),
    );
  });

  it('leaves out the user records that belong to another shard, and no others', () => {
    fc.assert(
      fc.property(produced, (records) => {
        const data = aggregate(records);
        const middle = largest / 2n;
        expect(readable(taken(data, lowerHalf))).toEqual(columnsOf(records, (record) => hashOf(record) <= middle));
        expect(readable(taken(data, upperHalf))).toEqual(columnsOf(records, (record) => hashOf(record) > middle));
      }),
    );
  });

  it('takes both ends of the range in', () => {
    const at = (hash: bigint): ProducedRecord => ({ key: 'k', explicitHash: String(hash), data: Buffer.from('d') });
    const records = [at(99n), at(100n), at(200n), at(201n)];
    expect(taken(aggregate(records), { start: '100', end: '200' }).subs).toEqual([1, 2]);
  });

  it('takes any other bytes as one record, damaged aggregates among them', () => {
    const whole = { values: [expect.anything()], keys: ['own key'], subs: [0], count: 1 };
    fc.assert(
      fc.property(produced, fc.nat(), fc.integer({ min: 1, max: 255 }), (records, place, change) => {
        const data = aggregate(records);
        data[place % data.length] ^= change;
        const read = taken(data, lowerHalf);
        expect(readable(read)).toEqual(whole);
        expect(read.values[0]).toBe(data);
      }),
    );
    fc.assert(fc.property(fc.uint8Array(), (bytes) => expect(readable(taken(Buffer.from(bytes)))).toEqual(whole)));
  });

  it.each([
    ['cut off', aggregate([{ key: 'k', data: Buffer.alloc(50) }]).subarray(4, -36)],
    ['a record without a key', Buffer.concat([field(1, Buffer.from('k')), field(3, field(3, Buffer.from('d')))])],
    ['a record without data', Buffer.concat([field(1, Buffer.from('k')), field(3, number(1, 0))])],
    ['a key that is not in the table', field(3, Buffer.concat([number(1, 0), field(3, Buffer.from('d'))]))],
    [
      'a hash key that is not in the table',
      Buffer.concat([
        field(1, Buffer.from('k')),
        field(3, Buffer.concat([number(1, 0), number(2, 3), field(3, Buffer.from('d'))])),
      ]),
    ],
    ['a hash key that is no number', field(2, Buffer.from('no number'))],
    ['a group', Buffer.from([(7 << 3) | 3])],
    ['a fixed number that is cut off', Buffer.from([(7 << 3) | 1, 0, 0])],
  ])('takes a message that is not what it should be as one record: %s', (_, message) => {
    const data = framed(message);
    expect(readable(taken(data))).toEqual({ keys: ['own key'], values: [data.toString('hex')], subs: [0], count: 1 });
  });

  it('gives nothing of an aggregate that turns out wrong halfway', () => {
    const good = field(3, Buffer.concat([number(1, 0), field(3, Buffer.from('d'))]));
    const data = framed(Buffer.concat([field(1, Buffer.from('k')), good, good, field(3, number(1, 9))]));
    const into: UserRecords = { keys: [Buffer.from('x')], values: [Buffer.from('y')], subs: [7] };
    expect(deaggregate('own key', data, undefined, into)).toBe(1);
    expect(into.subs).toEqual([7, 0]);
    expect(into.keys.map(String)).toEqual(['x', 'own key']);
    expect(into.values).toEqual([Buffer.from('y'), data]);
  });

  it('reads tables that come behind the records, and passes over fields that it does not know', () => {
    const record = field(
      3,
      Buffer.concat([number(9, 2 ** 40), number(1, 1), field(3, Buffer.from('d')), field(8, Buffer.alloc(3))]),
    );
    const strange = Buffer.from([(9 << 3) | 5, 1, 2, 3, 4, (10 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8]);
    const message = Buffer.concat([record, strange, field(1, Buffer.from('no')), field(1, Buffer.from('yes'))]);
    expect(readable(taken(framed(message)))).toEqual({ keys: ['yes'], values: ['64'], subs: [0], count: 1 });
  });

  it('takes an aggregate of nothing for no record', () => {
    expect(taken(aggregate([]))).toEqual({ keys: [], values: [], subs: [], count: 0 });
  });
});
