import type { KinesisClient } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { streamAge } from '../../consumers/kinesis/stream-age.ts';
import { clockAt } from '../support/clock.ts';

const hourMs = 3_600_000;

/** A stream of that age, and how often it was asked for. */
function streamOf(ageHours: number, send?: () => Promise<unknown>) {
  let asked = 0;
  const StreamDescriptionSummary = { StreamCreationTimestamp: new Date(0), RetentionPeriodHours: 24 };
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
  ])('after %f of 24 hours of retention', async (hours, isYoung) => {
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
