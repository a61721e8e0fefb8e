import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Entry, type PutAnswer, type PutOptions, putInOrder } from '../../consumers/kinesis/put-records.ts';
import { partitionKeyOf } from '../../consumers/kinesis/sink.ts';
import { seededRandom } from '../../runtime/random.ts';
import { clockAt } from '../support/clock.ts';

const entriesOf = (keys: readonly string[]): Entry[] =>
  keys.map((partitionKey, index) => ({ partitionKey, data: Buffer.from(String(index)) }));

/** A clock whose waits are over at once, and take their time all the same. */
function skippingClock() {
  let now = 0;
  return {
    ...clockAt(() => now),
    sleep: async (ms: number) => {
      now += ms;
      return true;
    },
  };
}

/** A stream that answers as the dice say. */
function unreliableStream(seed: number, refusedShare: number) {
  const random = seededRandom(seed);
  const taken: Entry[] = [];
  const requests: (readonly Entry[])[] = [];
  const throttled: number[] = [];
  const options: PutOptions = {
    async put(entries): Promise<PutAnswer> {
      requests.push(entries);
      return entries.map((entry) => {
        if (random.next() < refusedShare) return 'ProvisionedThroughputExceededException';
        taken.push(entry);
        return undefined;
      });
    },
    mostBytes: 5_000_000,
    patienceMs: 1_000_000,
    clock: skippingClock(),
    random,
    onThrottled: (entries) => throttled.push(entries),
  };
  return { taken, requests, throttled, options };
}

describe('putting records in order', () => {
  it('puts each once, those of a key in order, whatever is refused', async () => {
    const keys = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(keys, fc.nat(), fc.double({ min: 0, max: 0.9, noNaN: true }), async (all, seed, share) => {
        const stream = unreliableStream(seed, share);
        const entries = entriesOf(all);
        await putInOrder(entries, stream.options);
        expect(stream.taken).toHaveLength(entries.length);
        for (const key of new Set(all)) {
          const ofKey = ({ partitionKey }: Entry) => partitionKey === key;
          expect(stream.taken.filter(ofKey)).toEqual(entries.filter(ofKey));
        }
        for (const request of stream.requests) {
          expect(new Set(request.map(({ partitionKey }) => partitionKey)).size).toBe(request.length);
        }
        const sent = stream.requests.reduce((sum, request) => sum + request.length, 0);
        expect(stream.throttled.reduce((sum, count) => sum + count, 0)).toBe(sent - entries.length);
      }),
    );
  });

  it('keeps to 500 records and the bytes of a request', async () => {
    const stream = unreliableStream(1, 0);
    const entries = entriesOf(Array.from({ length: 1_200 }, (_, index) => `key-${index}`));
    await putInOrder(entries, stream.options);
    expect(stream.requests.map(({ length }) => length)).toEqual([500, 500, 200]);
    const large = Array.from({ length: 7 }, (_, index) => ({ partitionKey: `k${index}`, data: Buffer.alloc(998) }));
    // Keys count as well.
    for (const [mostBytes, lengths] of [
      [3_000, [3, 3, 1]],
      [2_999, [2, 2, 2, 1]],
    ] as const) {
      const narrow = unreliableStream(1, 0);
      await putInOrder(large, { ...narrow.options, mostBytes });
      expect(narrow.requests.map(({ length }) => length)).toEqual(lengths);
    }
  });

  it('gives up when patience ends, and says how many and why', async () => {
    const stream = unreliableStream(1, 1);
    const put = putInOrder(entriesOf(['a', 'b']), { ...stream.options, patienceMs: 20_000 });
    await expect(put).rejects.toThrow(/^2 records .* ProvisionedThroughputExceededException$/);
    // Waits grow: it is no tight loop.
    expect(stream.requests.length).toBeGreaterThan(5);
    expect(stream.requests.length).toBeLessThan(20);
  });

  it('goes on for as long as a full stream takes some, and asks little more of it than it takes', async () => {
    const stream = unreliableStream(1, 0);
    const perMs = 31 / 1_000;
    let [room, filledAt] = [10, 0];
    const { put, clock } = stream.options;
    const options: PutOptions = {
      ...stream.options,
      patienceMs: 10_000,
      async put(entries) {
        const now = clock.monotonic();
        room = Math.min(10, room + (now - filledAt) * perMs);
        filledAt = now;
        const fitting = Math.floor(room);
        room -= Math.min(fitting, entries.length);
        await put(entries.slice(0, fitting));
        return entries.map((_, index) => (index < fitting ? undefined : 'ProvisionedThroughputExceededException'));
      },
    };
    await putInOrder(entriesOf(Array.from({ length: 1_000 }, (_, index) => `key-${index}`)), options);
    expect(stream.taken).toHaveLength(1_000);
    // At the stream's pace, which is longer than patience.
    expect(clock.monotonic()).toBeGreaterThan(25_000);
    expect(clock.monotonic()).toBeLessThan(60_000);
    const refused = stream.throttled.reduce((sum, count) => sum + count, 0);
    expect(refused).toBeLessThan(2_500);
  });

  it('has a partition key for every key that Kinesis does not take as it is', () => {
    expect(partitionKeyOf(Buffer.from('größer'))).toBe('größer');
    expect(partitionKeyOf(null)).toBeUndefined();
    expect(partitionKeyOf(Buffer.alloc(0))).toBeUndefined();
    for (const key of [Buffer.from([255, 254]), Buffer.alloc(257, 'x')]) {
      expect(partitionKeyOf(key)).toMatch(/^[0-9a-f]{64}$/);
      expect(partitionKeyOf(key)).toBe(partitionKeyOf(Buffer.from(key)));
    }
  });
});
