import { expect, it } from '@jest/globals';
import type { Feed } from '../../consumers/kafka/fetcher.ts';
import { createOwnedPartition } from '../../consumers/kafka/owned-partition.ts';
import { WeirError } from '../../runtime/errors.ts';
import { clockAt } from '../support/clock.ts';

/** A partition whose log ends at 7, as the test's broker says. */
function ownAlone() {
  let now = 0;
  let feed: Feed | undefined;
  const log = { earliest: 0, end: 7, fault: undefined as WeirError | undefined };
  const warnings: string[] = [];
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
      if (log.fault !== undefined) throw log.fault;
      return { earliest: log.earliest, end: log.end };
    },
    checkpointed: async () => undefined,
    silenceMs: 6_000,
    warn: (sentence) => warnings.push(sentence),
  });
  return { ownership, feed: feed!, log, warnings, tick: (ms: number) => (now += ms) };
}

it('says what is wrong when its fetches get no answer for too long, and where the log ends when that is known again', async () => {
  const { ownership, feed, log, tick } = ownAlone();
  const read = () => ownership.read(7);
  /** The answer to its question is there with the next read. */
  const readAfter = async (ms: number) => {
    tick(ms);
    await read();
    return read();
  };
  expect(await read()).toMatchObject({ values: [], next: 7, end: 7 });
  log.fault = new WeirError('BROKER', 'no broker leads t:0');
  expect(await readAfter(6_000)).toMatchObject({ values: [], end: 7 });
  feed.nothingFetched(7, 7);
  expect(await readAfter(6_000)).toMatchObject({ values: [], end: 7 });
  await expect(readAfter(1)).rejects.toBe(log.fault);
  // Who goes on begins with the same question.
  await expect(read()).rejects.toBe(log.fault);
  log.fault = undefined;
  expect(await read()).toMatchObject({ values: [], next: 7, end: 7 });
  log.end = 9;
  expect(await readAfter(6_001)).toMatchObject({ values: [], next: 7, end: 9 });
  const away = Object.assign(new Error('away'), { name: 'KafkaJSConnectionError' });
  log.fault = new WeirError('BROKER', 'cannot be reached', { cause: away });
  expect(await readAfter(6_001)).toMatchObject({ values: [], end: 9 });
});

it('says once of each transaction that it hides records for too long', async () => {
  const { ownership, feed, warnings, tick } = ownAlone();
  await ownership.read(7);
  const wait = (end: number, ms: number) => {
    feed.nothingFetched(7, end);
    tick(ms);
  };
  wait(7, 90_000);
  wait(8, 60_000);
  wait(9, 1);
  expect(warnings).toEqual([]);
  wait(12, 1);
  wait(13, 90_000);
  expect(warnings).toEqual([
    expect.stringMatching(
      /^t:0 has records from offset 7 to 12 that cannot be read yet: .* open there for more than 60 s/,
    ),
  ]);
  // Committed, and another one.
  wait(7, 1);
  wait(14, 60_001);
  wait(15, 1);
  expect(warnings).toHaveLength(2);
});

it('tells what was deleted of those alone who had yet to read it', async () => {
  const { ownership, feed, log } = ownAlone();
  log.earliest = 5;
  const read = ownership.read(2);
  while (feed.wanted() !== 5) await Promise.resolve();
  feed.failed(5, new WeirError('BROKER', 'the disk has failed'));
  await expect(read).rejects.toThrow('the disk has failed');
  // Somebody else has got on meanwhile.
  expect(await ownership.read(6)).not.toHaveProperty('lost');
  expect(await ownership.read(3)).toMatchObject({ lost: { from: 3, to: 5 } });
});
