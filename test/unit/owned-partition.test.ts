import { expect, it } from '@jest/globals';
import type { Feed } from '../../consumers/kafka/fetcher.ts';
import { createGrowth } from '../../consumers/kafka/growth.ts';
import type { FetchedBatch } from '../../consumers/kafka/internals.ts';
import { createOwnedPartition } from '../../consumers/kafka/owned-partition.ts';
import { WeirError } from '../../runtime/errors.ts';
import { clockAt } from '../support/clock.ts';

/** A partition whose log ends at 7, as the test's broker says. */
function ownAlone(maxEvents = 10) {
  let now = 0;
  let feed: Feed | undefined;
  let wakes = 0;
  const log = { earliest: 0, end: 7, fault: undefined as WeirError | undefined };
  const warnings: string[] = [];
  /** What the group says and does. */
  const group = {
    isDoubtful: false,
    word: Promise.withResolvers<void>(),
    commits: [] as number[],
    onCommit: async () => {},
  };
  const { ownership, revoke } = createOwnedPartition({
    stream: 't',
    partition: 0,
    format: { type: 'json' },
    isAdded: false,
    growth: createGrowth(clockAt(() => now)),
    maxEvents,
    limits: { records: 10, bytes: 1_000 },
    brokers: ['b:1'],
    fetcher: { add: (added) => (feed = added), remove() {}, wake: () => void wakes++, close: async () => {} },
    partitions: () => 1,
    confirmed: () => group.word.promise,
    isDoubtful: () => group.isDoubtful,
    async commit(_, offset) {
      group.commits.push(offset);
      await group.onCommit();
    },
    clock: clockAt(() => now),
    async range() {
      if (log.fault !== undefined) throw log.fault;
      return { earliest: log.earliest, end: log.end };
    },
    checkpointed: async () => undefined,
    silenceMs: 6_000,
    warn: (sentence) => warnings.push(sentence),
  });
  const of = { ownership, revoke, feed: feed!, log, group, warnings };
  return { ...of, wakes: () => wakes, tick: (ms: number) => (now += ms) };
}

/** What a fetch from the offset gives: so many records of so many bytes, and the offset behind them. */
function fetched(offset: number, records: number, bytes = 1): [FetchedBatch, number] {
  const value = Buffer.alloc(bytes);
  const batch = {
    fetchedOffset: String(offset),
    highWatermark: '100',
    messages: Array.from({ length: records }, (_, n) => ({
      ...{ offset: String(offset + n), timestamp: '0', key: null, value, headers: {} },
    })),
  };
  return [batch as unknown as FetchedBatch, offset + records];
}

async function begun(maxEvents?: number) {
  const alone = ownAlone(maxEvents);
  await alone.ownership.read(0);
  return alone;
}

/** All that can happen without another word of the test has happened. */
async function settled(): Promise<void> {
  for (let k = 0; k < 5; k++) await new Promise(setImmediate);
}

it.each([
  ['records', 10, 1, 4],
  // Those of a fetch count until all of it is read.
  ['bytes', 5, 200, 3],
])(
  'is fetched no further while as many %s are held as may be, and on when half of them are read',
  async (_, count, bytes, few) => {
    const { ownership, feed, wakes } = await begun(1);
    feed.fetched(...fetched(0, count - 1, bytes));
    expect(feed.wanted()).toBe(count - 1);
    feed.fetched(...fetched(count - 1, 1, bytes));
    expect(feed.wanted()).toBeUndefined();
    const before = wakes();
    for (let position = 0; position < few; position++) await ownership.read(position);
    expect([feed.wanted(), wakes()]).toEqual([undefined, before]);
    await ownership.read(few);
    expect(wakes()).toBe(before + 1);
    expect(feed.wanted()).toBe(count);
  },
);

it('takes nothing for its own that was fetched, or failed, from before it went elsewhere', async () => {
  const { ownership, feed } = await begun();
  await ownership.read(6);
  await ownership.read(2);
  feed.fetched(...fetched(6, 1));
  feed.failed(6, new WeirError('INPUT', 'damaged'));
  feed.nothingFetched(6, 50);
  expect(feed.wanted()).toBe(2);
  expect(await ownership.read(2)).toMatchObject({ offsets: [], next: 2, end: 7 });
  feed.fetched(...fetched(2, 1));
  expect(await ownership.read(2)).toMatchObject({ offsets: [2], next: 3 });
});

it('begins anew where the log has been cut before it was read, and says what is gone', async () => {
  const { ownership, feed, log } = await begun();
  log.earliest = 4;
  feed.outOfRange();
  expect(feed.wanted()).toBeUndefined();
  const reading = ownership.read(0);
  await settled();
  feed.fetched(...fetched(4, 2));
  expect(await reading).toMatchObject({ offsets: [4, 5], lost: { from: 0, to: 4 } });
  feed.fetched(...fetched(6, 1));
  expect((await ownership.read(6)).lost).toBeUndefined();
});

it('gives out nothing more of what it holds once it is lost, nor before the group has said that it is not', async () => {
  const { ownership, feed, group, revoke } = await begun();
  feed.fetched(...fetched(0, 2));
  group.isDoubtful = true;
  let given: unknown;
  const reading = ownership.read(0).then((batch) => {
    given = batch.offsets;
  });
  await settled();
  expect(given).toBeUndefined();
  group.word.resolve();
  await reading;
  expect(given).toEqual([0, 1]);
  group.isDoubtful = false;

  const waiting = ownership.read(2);
  await settled();
  feed.fetched(...fetched(2, 1));
  revoke();
  expect(await waiting).toMatchObject({ offsets: [], next: 2 });
  await expect(ownership.read(2)).rejects.toMatchObject({ code: 'FENCED' });
});

it('does not go elsewhere any more when it is lost meanwhile', async () => {
  const { ownership, feed, revoke } = await begun();
  const reading = ownership.read(3);
  revoke();
  await expect(reading).rejects.toMatchObject({ code: 'FENCED' });
  expect(feed.wanted()).toBe(0);
});

it('commits again what a rebalance refused, once the group has said whose it is', async () => {
  const { ownership, group, revoke } = await begun();
  const refuse = async () => {
    throw Object.assign(new Error('rebalancing'), { type: 'REBALANCE_IN_PROGRESS' });
  };
  group.onCommit = refuse;
  const committing = ownership.checkpoint(5);
  await settled();
  expect(group.commits).toEqual([5]);
  group.onCommit = async () => {};
  group.word.resolve();
  await committing;
  expect(group.commits).toEqual([5, 5]);

  group.onCommit = refuse;
  group.word = Promise.withResolvers();
  const lost = ownership.checkpoint(6);
  await settled();
  revoke();
  group.word.resolve();
  await expect(lost).rejects.toMatchObject({ code: 'FENCED' });
  expect(group.commits).toEqual([5, 5, 6]);
});

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
