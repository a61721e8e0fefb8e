import type { KinesisClient } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { type Lease, newLease } from '../../consumers/kinesis/lease.ts';
import { isWholeLog, streamAge } from '../../consumers/kinesis/whole-log.ts';
import { clockAt } from '../support/clock.ts';

const hourMs = 3_600_000;

/** A stream of that age, and how often it was asked for. */
function streamOf(ageHours: number, send?: () => Promise<unknown>) {
  let asked = 0;
  const StreamDescriptionSummary = { StreamCreationTimestamp: new Date(0), RetentionPeriodHours: 8_760 };
  const client = {
    async send() {
      asked++;
      return send?.() ?? { StreamDescriptionSummary };
    },
  };
  const isYoung = streamAge(
    client as unknown as KinesisClient,
    'tx',
    clockAt(() => ageHours * hourMs),
  );
  return { isYoung, asked: () => asked };
}

describe('the age of a stream', () => {
  it.each([
    [1, true],
    [22.9, true],
    // Clocks differ.
    [23.1, false],
    [25, false],
  ])('after %f hours, however long its retention may be by now', async (hours, isYoung) => {
    expect(await streamOf(hours).isYoung()).toBe(isYoung);
  });

  it('is asked for once by all who ask at the same time', async () => {
    const { isYoung, asked } = streamOf(1);
    await Promise.all(Array.from({ length: 500 }, isYoung));
    expect(asked()).toBe(1);
    await isYoung();
    expect(asked()).toBe(2);
  });

  it('is asked for again after a failure', async () => {
    const limit = Object.assign(new Error('too many'), { name: 'LimitExceededException' });
    const { isYoung, asked } = streamOf(1, () => Promise.reject(limit));
    for (let n = 0; n < 2; n++) await expect(isYoung()).rejects.toMatchObject({ code: 'BROKER' });
    expect(asked()).toBe(2);
  });
});

describe('the log of a shard that came from others', () => {
  const parents = ['shardId-000000000000', 'shardId-000000000001'];
  const child = newLease('shardId-000000000002', { sequence: 'TRIM_HORIZON', sub: 0 }, parents);
  const ended = (key: string): Lease => ({
    ...newLease(key, { sequence: 'SHARD_END', sub: 0 }, []),
    positions: { weirCheckpoint: '7+1:E2g' },
  });
  /** @param leases what the table has of the parents. @param gone which of them the stream has no more. */
  const isWhole = (leases: readonly Lease[], gone: readonly string[] = []) =>
    isWholeLog(
      child,
      { checkpoint: undefined, anchors: [] },
      () => Promise.reject(new Error('its own age says nothing')),
      { read: async (id) => leases.find(({ key }) => key === id) },
      { isGone: async (id) => gone.includes(id) },
    );

  it('is whole where they were read to their end here', async () => {
    expect(await isWhole(parents.map(ended))).toBe(true);
  });

  it('is not where one was read by somebody else, or is not known', async () => {
    expect(await isWhole([ended(parents[0]), { ...ended(parents[1]), positions: undefined }])).toBe(false);
    expect(await isWhole([ended(parents[0])])).toBe(false);
  });

  it('is not known to be once the stream has one of them no more: its own first records may be deleted as well', async () => {
    expect(await isWhole(parents.map(ended), [parents[1]])).toBe(false);
  });
});
