import {
  InternalFailureException,
  InvalidArgumentException,
  type KinesisClient,
  ResourceInUseException,
  ResourceNotFoundException,
  type StartingPosition,
  type SubscribeToShardCommand,
  type SubscribeToShardEventStream,
} from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { fanOutShard, subscribeTo } from '../../consumers/kinesis/fan-out.ts';
import type { FanOutConsumer } from '../../consumers/kinesis/fan-out-consumer.ts';
import type { ShardPages } from '../../consumers/kinesis/shard-log.ts';
import { seededRandom } from '../../runtime/random.ts';
import { clockAt } from '../support/clock.ts';

const fault = { $metadata: {}, message: 'said the test' };

function event(sequences: readonly string[], next: string | undefined, more: object = {}): SubscribeToShardEventStream {
  const Records = sequences.map((SequenceNumber) => ({
    SequenceNumber,
    PartitionKey: 'k',
    Data: Buffer.from(`v${SequenceNumber}`),
    ApproximateArrivalTimestamp: new Date(1_000),
  }));
  return { SubscribeToShardEvent: { Records, ContinuationSequenceNumber: next, MillisBehindLatest: 0, ...more } };
}

/** What each subscription gives, one after the other: events and then its end, or an error or silence instead of it. */
type Script = readonly (readonly (SubscribeToShardEventStream | Error | 'silence')[] | Error | 'silence')[];

function play(script: Script, from = 'beginning' as 'beginning' | string, now = () => 0) {
  const starts: StartingPosition[] = [];
  const waits: number[] = [];
  /** Ended by whoever subscribed. */
  const ended: StartingPosition[] = [];
  let silence: (() => void) | undefined;
  let throttles = 0;
  const rivals: boolean[] = [];
  const log = fanOutShard(
    async (start, signal) => {
      signal.addEventListener('abort', () => ended.push(start));
      const subscription = script[starts.push(start) - 1];
      if (subscription instanceof Error) throw subscription;
      if (subscription === 'silence') return new Promise(() => {});
      return (async function* () {
        for (const one of subscription ?? ['silence']) {
          if (one === 'silence') await new Promise(() => {});
          if (one instanceof Error) throw one;
          yield one as SubscribeToShardEventStream;
        }
      })();
    },
    {
      name: 'shard 7',
      clock: {
        ...clockAt(now),
        sleep: async (ms) => {
          waits.push(ms);
          return true;
        },
        after(ms, work) {
          expect(ms).toBe(60_000);
          silence = work;
          return () => {
            silence = undefined;
          };
        },
      },
      random: seededRandom(1),
      signal: new AbortController().signal,
      onThrottled: () => throttles++,
      handOverMs: 30_000,
      onRival: (isLasting) => rivals.push(isLasting),
    },
  );
  const pages = log.open(from === 'beginning' ? { kind: 'beginning' } : { kind: 'at', sequence: from });
  /** Lets a minute go by once somebody waits for it. */
  async function passSilence(): Promise<void> {
    await new Promise(setImmediate);
    silence!();
  }
  return {
    pages,
    starts,
    ended,
    waits,
    throttles: () => throttles,
    rivals,
    passSilence,
    isWaiting: () => silence !== undefined,
  };
}

async function sequences(pages: ShardPages): Promise<string[]> {
  return (await pages.next()).records.map(({ sequence }) => sequence);
}

describe('enhanced fan-out', () => {
  it('goes on behind the last event when a subscription has ended', async () => {
    const { pages, starts, waits } = play([[event(['1', '2'], '2'), event([], '5')], [event(['6'], '6')]]);
    expect(await sequences(pages)).toEqual(['1', '2']);
    expect(await sequences(pages)).toEqual([]);
    expect(await sequences(pages)).toEqual(['6']);
    expect(starts).toEqual([{ Type: 'TRIM_HORIZON' }, { Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: '5' }]);
    expect(waits).toEqual([]);
  });

  it('looks whether the last record is still there where a day has gone by since, and says so where it is not', async () => {
    let hours = 0;
    const { pages, starts } = play(
      [
        [event(['1'], '3', { MillisBehindLatest: 9 })],
        [event(['1', '4'], '4', { MillisBehindLatest: 9 })],
        [event(['7'], '8')],
        [event(['9'], '9')],
      ],
      'beginning',
      () => hours * 3_600_000,
    );
    const next = async () => {
      const { records, isBehindGap } = await pages.next();
      return { read: records.map(({ sequence }) => sequence), isBehindGap };
    };
    expect(await next()).toEqual({ read: ['1'], isBehindGap: false });
    hours = 25;
    expect(await next()).toEqual({ read: ['4'], isBehindGap: false });
    hours = 50;
    expect(await next()).toEqual({ read: ['7'], isBehindGap: true });
    // The log's end was seen a moment ago.
    expect(await next()).toEqual({ read: ['9'], isBehindGap: false });
    expect(starts.slice(1)).toEqual([
      { Type: 'AT_SEQUENCE_NUMBER', SequenceNumber: '1' },
      { Type: 'AT_SEQUENCE_NUMBER', SequenceNumber: '4' },
      { Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: '8' },
    ]);
  });

  it('takes an event for no newer than its subscription, however long it has waited to be taken', async () => {
    let hours = 0;
    const { pages, starts } = play([[event(['1'], '1')], [event(['1'], '1')]], 'beginning', () => hours * 3_600_000);
    const taken = sequences(pages);
    hours = 25;
    expect(await taken).toEqual(['1']);
    expect(await sequences(pages)).toEqual([]);
    expect(starts[1]).toEqual({ Type: 'AT_SEQUENCE_NUMBER', SequenceNumber: '1' });
  });

  it('begins at a record', async () => {
    const { pages, starts } = play([[event(['4'], '4')]], '4');
    const { records } = await pages.next();
    expect(records).toEqual([{ sequence: '4', partitionKey: 'k', data: Buffer.from('v4'), arrivedAt: 1_000 }]);
    expect(starts).toEqual([{ Type: 'AT_SEQUENCE_NUMBER', SequenceNumber: '4' }]);
  });

  it('begins at the oldest record where the log no longer reaches back to a record', async () => {
    const { pages, starts } = play(
      [new InvalidArgumentException(fault), [event(['12'], '12'), event(['13'], '13')]],
      '4',
    );
    expect(await sequences(pages)).toEqual(['12']);
    expect(await sequences(pages)).toEqual(['13']);
    expect(starts[1]).toEqual({ Type: 'TRIM_HORIZON' });
  });

  it('says so where the log reaches back beyond a record that Kinesis does not know: it is of another stream', async () => {
    const { pages } = play([new InvalidArgumentException(fault), [event(['3'], '3')]], '4');
    const message = expect.stringMatching(/^the position 4 was never one of shard 7: .*; use another application$/);
    await expect(pages.next()).rejects.toMatchObject({ code: 'INPUT', message });
  });

  it('waits with jitter, longer each time, while somebody else has the subscription or Kinesis fails', async () => {
    const inUse = new ResourceInUseException(fault);
    const { pages, starts, waits } = play([
      inUse,
      inUse,
      inUse,
      [event(['1'], '1'), { InternalFailureException: new InternalFailureException(fault) }],
      [Object.assign(new Error('reset'), { code: 'ECONNRESET' })],
      [event(['2'], '2')],
    ]);
    expect(await sequences(pages)).toEqual(['1']);
    expect(await sequences(pages)).toEqual(['2']);
    expect(starts).toHaveLength(6);
    expect(starts[5]).toEqual({ Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: '1' });
    expect(waits).toHaveLength(5);
    for (const [attempt, least] of [375, 750, 1_500, 375, 750].entries()) {
      expect(waits[attempt]).toBeGreaterThanOrEqual(least);
      expect(waits[attempt]).toBeLessThanOrEqual(least / 0.6);
    }
  });

  it('waits longer each time while subscriptions end before their first event, and gives up in the end', async () => {
    const some = play([[], [], [event(['1'], '1')]]);
    expect(await sequences(some.pages)).toEqual(['1']);
    expect(some.waits).toHaveLength(2);
    for (const [attempt, least] of [375, 750].entries()) expect(some.waits[attempt]).toBeGreaterThanOrEqual(least);
    const later = play([[event(['1'], '1')], [], [event(['2'], '2')]]);
    expect(await sequences(later.pages)).toEqual(['1']);
    expect(await sequences(later.pages)).toEqual(['2']);
    expect(later.waits).toHaveLength(1);
    const none = play(Array.from({ length: 100 }, () => []));
    await expect(none.pages.next()).rejects.toMatchObject({ code: 'BROKER' });
    expect(none.starts).toHaveLength(13);
  });

  it('tells a rival that goes on taking the subscription from a lease that changes hands', async () => {
    let now = 0;
    const taken = { ResourceInUseException: new ResourceInUseException(fault) };
    const script = [
      [event(['1'], '1'), taken],
      [event(['2'], '2'), taken],
      // Too early for one that has had no rival.
      [event(['3'], '3')],
      new ResourceInUseException(fault),
      [event(['4'], '4'), taken],
    ];
    const { pages, rivals } = play(script, 'beginning', () => now);
    const readAt = async (seconds: number) => {
      now = seconds * 1_000;
      return sequences(pages);
    };
    expect(await readAt(0)).toEqual(['1']);
    expect(await readAt(7)).toEqual(['2']);
    expect(await readAt(14)).toEqual(['3']);
    expect(rivals).toEqual([false, false]);
    // Ended after twenty seconds, and refused: there is somebody who goes on.
    expect(await readAt(38)).toEqual(['4']);
    expect(rivals).toEqual([false, false, true, true]);
  });

  it('takes its own last subscription, and those that end after their time, for no rival', async () => {
    let now = 0;
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    const { pages, rivals } = play(
      [[event(['1'], '1'), reset], new ResourceInUseException(fault), [event(['2'], '2')], [event(['3'], '3')]],
      'beginning',
      () => now,
    );
    expect(await sequences(pages)).toEqual(['1']);
    expect(await sequences(pages)).toEqual(['2']);
    now = 300_000;
    expect(await sequences(pages)).toEqual(['3']);
    expect(rivals).toEqual([]);
  });

  it('opens a subscription anew that has gone silent, and ends the old one', async () => {
    const { pages, starts, ended, waits, passSilence, isWaiting } = play([
      [event(['1'], '5'), 'silence'],
      [event(['6'], '6')],
    ]);
    expect(await sequences(pages)).toEqual(['1']);
    const more = sequences(pages);
    await passSilence();
    expect(await more).toEqual(['6']);
    expect(starts).toEqual([{ Type: 'TRIM_HORIZON' }, { Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: '5' }]);
    expect(ended).toEqual([{ Type: 'TRIM_HORIZON' }]);
    expect(waits).toHaveLength(1);
    expect(isWaiting()).toBe(false);
  });

  it('says so when nothing is heard a second time, be it not even of the subscription itself', async () => {
    const { pages, passSilence, ended } = play(['silence', ['silence']]);
    const message = expect.stringMatching(/shard 7: .*silent for 60 s/);
    const asked = expect(pages.next()).rejects.toMatchObject({ code: 'BROKER', message });
    await passSilence();
    await passSilence();
    await asked;
    expect(ended).toHaveLength(2);
  });

  it('waits longer each time while subscriptions only find the last record again, and gives up in the end', async () => {
    let hours = 0;
    const found = [event(['1'], '3', { MillisBehindLatest: 9 })];
    const { pages, waits, starts } = play(
      Array.from({ length: 100 }, () => found),
      'beginning',
      () => hours * 3_600_000,
    );
    expect(await sequences(pages)).toEqual(['1']);
    hours = 25;
    const readAll = async () => {
      while (starts.length < 100) expect(await sequences(pages)).toEqual([]);
    };
    await expect(readAll()).rejects.toMatchObject({ code: 'BROKER' });
    expect(starts).toHaveLength(14);
    for (const [attempt, least] of [375, 750, 1_500].entries()) expect(waits[attempt]).toBeGreaterThanOrEqual(least);
  });

  it.each([
    ['Kinesis fails', { $metadata: { httpStatusCode: 500 } }],
    ['nothing comes', { name: 'TimeoutError' }],
  ])('tries again where %s', async (_, of) => {
    const { pages, waits } = play([Object.assign(new Error('no'), of), [event(['1'], '1')]]);
    expect(await sequences(pages)).toEqual(['1']);
    expect(waits).toHaveLength(1);
  });

  it('counts throttles, and gives up in the end', async () => {
    const limit = Object.assign(new Error('too many'), { name: 'LimitExceededException' });
    const { pages, throttles } = play(Array.from({ length: 30 }, () => limit));
    await expect(pages.next()).rejects.toMatchObject({ code: 'BROKER', message: expect.stringMatching(/shard 7/) });
    expect(throttles()).toBe(13);
  });

  it('says at once what no wait can mend', async () => {
    const { pages } = play([[{ ResourceNotFoundException: new ResourceNotFoundException(fault) }]]);
    await expect(pages.next()).rejects.toMatchObject({ code: 'INPUT', message: expect.stringMatching(/shard 7/) });
  });

  it('tells the shards that follow an ended one, and nothing more', async () => {
    const HashKeyRange = { StartingHashKey: '0', EndingHashKey: '9' };
    const ChildShards = [{ ShardId: 'shardId-8', ParentShards: ['shardId-7'], HashKeyRange }];
    const { pages, starts } = play([[event(['9'], undefined, { ChildShards })]]);
    expect((await pages.next()).children).toEqual([
      { id: 'shardId-8', parents: ['shardId-7'], hashRange: { start: '0', end: '9' }, isOpen: true },
    ]);
    const more = pages.next();
    pages.close();
    await expect(more).rejects.toMatchObject({ code: 'FENCED' });
    expect(starts).toHaveLength(1);
  });

  it('ends what waits when it is closed', async () => {
    const { pages } = play([]);
    const more = pages.next();
    await new Promise(setImmediate);
    pages.close();
    await expect(more).rejects.toMatchObject({ code: 'FENCED' });
  });
});

describe('a subscription', () => {
  const gone = () => new ResourceNotFoundException(fault);

  /** One whose requests are answered so, one after the other. @returns which consumers it was asked for by. */
  async function asked(...answers: readonly (Error | string)[]) {
    const arns: string[] = [];
    const client = {
      async send({ input }: SubscribeToShardCommand) {
        const answer = answers[arns.push(input.ConsumerARN!) - 1];
        if (answer instanceof Error) throw answer;
        return { EventStream: answer };
      },
    } as unknown as KinesisClient;
    let made = 1;
    const consumer: FanOutConsumer = {
      arn: async () => `consumer-${made}`,
      forget: (arn) => void (arn === `consumer-${made}` && made++),
    };
    const subscribe = subscribeTo(client, consumer, 'shard 7');
    const stream = await subscribe({ Type: 'LATEST' }, new AbortController().signal).catch((error: unknown) => error);
    return { arns, stream };
  }

  it('is asked for by another consumer once, where the one that was known is gone', async () => {
    expect(await asked(gone(), 'events')).toEqual({ arns: ['consumer-1', 'consumer-2'], stream: 'events' });
    const shard = gone();
    expect(await asked(gone(), shard)).toEqual({ arns: ['consumer-1', 'consumer-2'], stream: shard });
    const refused = new ResourceInUseException(fault);
    expect(await asked(refused)).toEqual({ arns: ['consumer-1'], stream: refused });
  });
});
