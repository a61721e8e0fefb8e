import {
  ExpiredIteratorException,
  type GetRecordsCommand,
  GetShardIteratorCommand,
  InvalidArgumentException,
  type KinesisClient,
} from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { pollShard } from '../../consumers/kinesis/polling.ts';
import { seededRandom } from '../../runtime/random.ts';
import { clockAt } from '../support/clock.ts';

const hourMs = 3_600_000;

/** A shard as Kinesis answers for it: its records arrive at times, and are deleted from the oldest on. */
function shardOf(arrivals: readonly number[], idleMs = 1_000) {
  /** By request: "AT_SEQUENCE_NUMBER 3" or "records". */
  const asked: string[] = [];
  const waits: number[] = [];
  const world = { now: 0, trimmed: 0, perPage: 2, isExpired: false, refuses: false, emptyPages: 0, throttles: 0 };
  const size = { bytes: 1 };
  let throttled = 0;
  const sequence = (index: number) => String(index + 1);

  function iterator({ input }: GetShardIteratorCommand): { ShardIterator: string } {
    const { ShardIteratorType: type, StartingSequenceNumber: at } = input;
    asked.push(at === undefined ? type! : `${type} ${at}`);
    const from = at === undefined ? 0 : Number(at) - (type === 'AFTER_SEQUENCE_NUMBER' ? 0 : 1);
    if (world.refuses && at !== undefined && from < world.trimmed)
      throw new InvalidArgumentException({ $metadata: {}, message: 'old' });
    return { ShardIterator: String(from) };
  }

  function records({ input }: GetRecordsCommand) {
    asked.push('records');
    if (world.throttles > 0) {
      world.throttles--;
      throw Object.assign(new Error('too many'), { name: 'ProvisionedThroughputExceededException' });
    }
    if (world.isExpired) {
      world.isExpired = false;
      throw new ExpiredIteratorException({ $metadata: {}, message: 'old' });
    }
    const from = Math.max(Number(input.ShardIterator), world.trimmed);
    const isEmpty = world.emptyPages > 0;
    if (isEmpty) world.emptyPages--;
    const arrived = arrivals.filter((time) => time <= world.now).length;
    const to = isEmpty ? from : Math.min(arrived, from + world.perPage);
    return {
      Records: arrivals.slice(from, to).map((time, index) => ({
        SequenceNumber: sequence(from + index),
        PartitionKey: 'k',
        Data: Buffer.alloc(size.bytes),
        ApproximateArrivalTimestamp: new Date(time),
      })),
      NextShardIterator: String(Math.max(from, to)),
      MillisBehindLatest: to < arrived ? world.now - arrivals[to] : 0,
    };
  }

  const client = {
    send: async (command: unknown) =>
      command instanceof GetShardIteratorCommand ? iterator(command) : records(command as GetRecordsCommand),
  } as unknown as KinesisClient;
  const log = pollShard(client, {
    stream: 'tx',
    shard: 'shardId-000000000000',
    maxRecords: 100,
    idleMs,
    clock: {
      ...clockAt(() => world.now),
      sleep: async (ms) => {
        waits.push(ms);
        world.now += ms;
        return true;
      },
    },
    random: seededRandom(1),
    signal: new AbortController().signal,
    onThrottled: () => throttled++,
  });
  const pages = log.open({ kind: 'beginning' });
  return {
    world,
    pages,
    size,
    waits,
    throttled: () => throttled,
    /** The records of the next page with "gap" before them where it says that there may be one. */
    async read(): Promise<string[]> {
      const page = await pages.next();
      return [...(page.isBehindGap ? ['gap'] : []), ...page.records.map((record) => record.sequence)];
    },
    /** What was asked for since the last call. */
    asked: () => asked.splice(0),
  };
}

describe('polling', () => {
  it('goes on at once, within the limits of a shard, where a page without records is not the last', async () => {
    const { world, waits, read } = shardOf([0, 0, 0], 60_000);
    world.now = hourMs;
    world.emptyPages = 3;
    for (let page = 0; page < 3; page++) expect(await read()).toEqual([]);
    expect(await read()).toEqual(['1', '2']);
    expect(waits).toEqual([0, 200, 200, 200]);
    expect(await read()).toEqual(['3']);
    expect(await read()).toEqual([]);
    await read();
    expect(waits.slice(-2)).toEqual([200, 60_000]);
  });

  it('takes no more than two megabytes a second', async () => {
    const { size, waits, read } = shardOf([0, 0, 0]);
    size.bytes = 1_000_000;
    await read();
    await read();
    size.bytes = 1;
    await read();
    expect(waits).toEqual([0, 1_000, 500]);
  });

  it('asks nothing more once it is closed', async () => {
    const { pages, read, asked } = shardOf([0, 0, 0]);
    await read();
    asked();
    pages.close();
    await expect(read()).rejects.toMatchObject({ code: 'FENCED' });
    expect(asked()).toEqual([]);
  });

  it('asks no sooner again where an iterator has expired', async () => {
    const { world, waits, read } = shardOf([0]);
    world.isExpired = true;
    expect(await read()).toEqual(['1']);
    expect(waits).toEqual([0, 200]);
  });

  it('waits longer each time while it asks too often, with jitter, and goes on from where it was', async () => {
    const { world, waits, throttled, read, asked } = shardOf([0, 0, 0, 0, 0]);
    expect(await read()).toEqual(['1', '2']);
    world.throttles = 8;
    expect(await read()).toEqual(['3', '4']);
    expect(throttled()).toBe(8);
    expect(new Set(asked().slice(1))).toEqual(new Set(['records']));
    const bases = [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
    const shares = waits.slice(2).map((ms, index) => ms / bases[index]);
    expect(shares).toHaveLength(bases.length);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.5);
    expect(Math.max(...shares)).toBeLessThanOrEqual(1.5);
    expect(new Set(shares).size).toBe(shares.length);
    // An answer ends that.
    world.throttles = 1;
    expect(await read()).toEqual(['5']);
    expect(waits.at(-2)).toBe(200);
    expect(waits.at(-1)).toBeLessThanOrEqual(300);
  });
});

describe('records that are deleted ahead of who polls', () => {
  it('cannot be any while all is read that had arrived a day before, so nothing more is asked', async () => {
    const { world, read, asked } = shardOf([0, 0, hourMs, 50 * hourMs]);
    world.now = 22 * hourMs;
    expect(await read()).toEqual(['1', '2']);
    world.isExpired = true;
    expect(await read()).toEqual(['3']);
    expect(asked()).toEqual(['TRIM_HORIZON', 'records', 'records', 'AFTER_SEQUENCE_NUMBER 2', 'records']);
    // Nothing comes for longer than a day: the log's end was seen until then.
    for (; world.now < 50 * hourMs; world.now += hourMs) expect(await read()).toEqual([]);
    world.trimmed = 3;
    expect(await read()).toEqual(['4']);
    expect(new Set(asked())).toEqual(new Set(['records']));
  });

  it('are none where the last record is still there: it is asked for with the next, and left out', async () => {
    const { world, read, asked } = shardOf([0, 0, 0, 0]);
    world.now = 100 * hourMs;
    expect(await read()).toEqual(['1', '2']);
    expect(await read()).toEqual(['3']);
    expect(await read()).toEqual(['4']);
    expect(asked()).toEqual([
      ...['TRIM_HORIZON', 'records'],
      ...['AT_SEQUENCE_NUMBER 2', 'records'],
      ...['AT_SEQUENCE_NUMBER 3', 'records'],
    ]);
  });

  it.each([
    ['goes on at the oldest record', false],
    ['refuses the place', true],
  ])('are told where it is gone and Kinesis %s', async (_, refuses) => {
    const { world, read } = shardOf([0, 0, 0, 0, 0, 0]);
    world.refuses = refuses;
    expect(await read()).toEqual(['1', '2']);
    world.now = 25 * hourMs;
    world.trimmed = 4;
    expect(await read()).toEqual(['gap', '5', '6']);
    expect(await read()).toEqual([]);
  });

  it('are told behind pages without records, and where an iterator has expired', async () => {
    const { world, read } = shardOf([0, 0, 0, 0, 0, 0]);
    expect(await read()).toEqual(['1', '2']);
    world.now = 25 * hourMs;
    world.trimmed = 4;
    world.emptyPages = 2;
    expect(await read()).toEqual([]);
    expect(await read()).toEqual([]);
    world.isExpired = true;
    expect(await read()).toEqual(['gap', '5', '6']);
  });

  it('are looked for without standing still: a page may have room for the last record alone', async () => {
    const { world, read, asked } = shardOf([0, 0, 0]);
    world.perPage = 1;
    world.now = 25 * hourMs;
    const pages: string[] = [];
    for (let page = 0; page < 4; page++) pages.push(String(await read()));
    expect(pages).toEqual(['1', '', '2', '']);
    asked();
    // However long that was ago.
    world.isExpired = true;
    expect(await read()).toEqual([]);
    expect(asked()).toEqual(['records', 'AT_SEQUENCE_NUMBER 2', 'records']);
    expect(await read()).toEqual(['3']);
  });
});
