import { expect, it } from '@jest/globals';
import type { Feed } from '../../consumers/kafka/fetcher.ts';
import { createOwnedPartition } from '../../consumers/kafka/owned-partition.ts';
import { WeirError } from '../../runtime/errors.ts';
import { clockAt } from '../support/clock.ts';

it('says what is wrong when its fetches get no answer for too long, and where the log ends when that is known again', async () => {
  let now = 0;
  let feed: Feed | undefined;
  let fault: WeirError | undefined;
  let end = 7;
  const { ownership } = createOwnedPartition({
    stream: 't',
    partition: 0,
    format: { type: 'json' },
    isAdded: false,
    maxEvents: 10,
    limits: { records: 10, bytes: 1_000 },
    brokers: ['b:1'],
    fetcher: { add: (added) => (feed = added), remove() {}, wake() {}, close: async () => {} },
    partitions: () => 1,
    confirmed: async () => {},
    isDoubtful: () => false,
    commit: async () => {},
    clock: clockAt(() => now),
    async range() {
      if (fault !== undefined) throw fault;
      return { earliest: 0, end };
    },
    checkpointed: async () => undefined,
    silenceMs: 6_000,
  });
  expect(await ownership.read(7)).toMatchObject({ values: [], next: 7, end: 7 });
  fault = new WeirError('BROKER', 'no broker leads t:0');
  now += 6_000;
  expect(await ownership.read(7)).toMatchObject({ values: [], end: 7 });
  feed!.nothingFetched(7, 7);
  now += 6_000;
  expect(await ownership.read(7)).toMatchObject({ values: [], end: 7 });
  now += 1;
  await expect(ownership.read(7)).rejects.toBe(fault);
  await expect(ownership.read(7)).rejects.toBe(fault);
  fault = undefined;
  end = 9;
  expect(await ownership.read(7)).toMatchObject({ values: [], next: 7, end: 9 });
  fault = new WeirError('BROKER', 'asked too early');
  expect(await ownership.read(7)).toMatchObject({ values: [], end: 9 });
});
