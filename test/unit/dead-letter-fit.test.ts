import { describe, expect, it } from '@jest/globals';
import { fittingDeadLetterLine } from '../../consumers/dead-letter-line.ts';
import { fitLetter } from '../../consumers/kafka/fitting.ts';
import { recordSizes } from '../../consumers/kafka/record-batch.ts';
import { deadLetterLayout } from '../../consumers/kafka/records.ts';
import type { DeadLetter } from '../../consumers/ports.ts';

/** Every byte is another than the one before, and none is text. */
const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, index) => 128 + (index % 64)));

const letter = (keyBytes: number, valueBytes: number): DeadLetter => ({
  key: keyBytes === 0 ? null : Buffer.alloc(keyBytes, 'k'),
  value: bytes(valueBytes),
  ...{ reason: 'oversized', message: 'too long', stream: 'tx', partition: 3, offset: 9, timestamp: 1_000 },
});

describe('a dead letter that a Kafka record has no room for', () => {
  const sizeOf = (of: DeadLetter) => recordSizes([of], deadLetterLayout)[0];

  it('is cut to what there is room for, to the last byte, and says how long it was', () => {
    for (const keyBytes of [0, 10, 5_000]) {
      for (const mostBytes of [10_000, 10_001, 70_000]) {
        const whole = letter(keyBytes, 100_000);
        const fit = fitLetter(whole, deadLetterLayout, mostBytes);
        expect(sizeOf(fit)).toBeLessThanOrEqual(mostBytes);
        expect(sizeOf(fit)).toBeGreaterThan(mostBytes - 5);
        expect(fit).toMatchObject({ key: whole.key, truncatedFrom: 100_000 });
        expect(whole.value!.subarray(0, fit.value!.length).equals(fit.value!)).toBe(true);
      }
    }
  });

  it('keeps half of the room for its value where its key is as long', () => {
    const fit = fitLetter(letter(50_000, 50_000), deadLetterLayout, 20_000);
    expect(fit.key).toHaveLength(10_000);
    expect(fit.value!.length).toBeGreaterThan(9_000);
    const bare = fitLetter({ ...letter(50_000, 0), value: null }, deadLetterLayout, 20_000);
    expect([bare.key?.length, bare.value, sizeOf(bare) < 20_000]).toEqual([10_000, null, true]);
  });

  it('is left as it is where it just fits', () => {
    const whole = letter(10, 20_000);
    expect(fitLetter(whole, deadLetterLayout, sizeOf(whole))).toBe(whole);
    expect(fitLetter(whole, deadLetterLayout, sizeOf(whole) - 1).truncatedFrom).toBe(20_000);
  });
});

describe('a dead letter that a line has no room for', () => {
  const read = (line: string) => {
    const { key, value, encoding, truncated_from } = JSON.parse(line);
    return { key, value: Buffer.from(value, encoding), from: truncated_from };
  };

  it('is cut to what there is room for, and says how long it was', () => {
    for (const mostBytes of [1_000, 1_001, 1_002, 1_003]) {
      const whole = letter(10, 1_000);
      const line = fittingDeadLetterLine(whole, mostBytes);
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(mostBytes);
      expect(Buffer.byteLength(line)).toBeGreaterThan(mostBytes - 4);
      const { key, value, from } = read(line);
      expect([key, from]).toEqual(['k'.repeat(10), 1_000]);
      expect(whole.value!.subarray(0, value.length).equals(value)).toBe(true);
    }
  });

  it('goes without a key that would take an eighth of it, and is left as it is where it just fits', () => {
    expect(read(fittingDeadLetterLine(letter(125, 1_000), 1_000)).key).toHaveLength(125);
    expect(read(fittingDeadLetterLine(letter(126, 1_000), 1_000)).key).toBeNull();
    const whole = letter(126, 100);
    const length = Buffer.byteLength(fittingDeadLetterLine(whole, 10_000));
    expect(read(fittingDeadLetterLine(whole, length))).toMatchObject({ value: whole.value, from: undefined });
    expect(read(fittingDeadLetterLine(whole, length - 1)).from).toBe(100);
    // There is nothing to cut.
    expect(JSON.parse(fittingDeadLetterLine({ ...whole, value: null }, 100)).value).toBeNull();
  });
});
