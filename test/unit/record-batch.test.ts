import { createRequire } from 'node:module';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { crc32c } from '../../consumers/kafka/crc32c.ts';
import {
  encodeRecords,
  headerLayout,
  type RecordLayout,
  recordSizes,
  writeBatchHead,
} from '../../consumers/kafka/record-batch.ts';

const require = createRequire(import.meta.url);
// The client's own reader is the independent judge here; the broker is in test/kafka/sink.test.ts.
const Decoder = require('kafkajs/src/protocol/decoder.js');
const readBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder.js');
const clientCrc = require('kafkajs/src/protocol/recordBatch/crc32C/index.js');

interface TestRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly texts: readonly [string, string];
}

const headers = headerLayout({ same: 'für alle', other: '' }, ['first', 'zweiter']);
const layout: RecordLayout<TestRecord> = {
  key: ({ key }) => key,
  value: ({ value }) => value,
  headers: () => headers,
  header: ({ texts }, n) => texts[n],
};

const sender = { isTransactional: true, producerId: 2n ** 40n + 7n, producerEpoch: 3, firstSequence: 2_000_000_000 };
const timestamp = 1_800_000_000_123;

const bytes = (maxLength: number) =>
  fc.option(
    fc.uint8Array({ maxLength }).map((array) => Buffer.from(array)),
    { nil: null },
  );
const text = fc.string({ unit: 'binary', maxLength: 90 });
const records = fc.array(fc.record({ key: bytes(80), value: bytes(9_000), texts: fc.tuple(text, text) }), {
  minLength: 1,
  maxLength: 150,
});

describe('crc32c', () => {
  it('gives the check value of the standard', () => {
    expect(crc32c(Buffer.from('123456789'), 0, 9)).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(0), 0, 0)).toBe(0);
  });

  it('agrees with a byte-wise computation at every place in memory', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), fc.nat(20), (array, head, tail) => {
        const bytes = Buffer.from(array);
        const from = Math.min(head, bytes.length);
        const to = Math.max(from, bytes.length - tail);
        expect(crc32c(bytes, from, to)).toBe(clientCrc(bytes.subarray(from, to)));
      }),
    );
  });
});

describe('an encoded batch', () => {
  it('is read back whole, and its checksum fits', async () => {
    await fc.assert(
      fc.asyncProperty(records, async (given) => {
        const encoded = encodeRecords(
          given,
          layout,
          recordSizes(given, layout),
          0,
          given.length,
          timestamp,
          Buffer.alloc,
        );
        writeBatchHead(encoded, sender);
        expect(encoded.count).toBe(given.length);
        expect(encoded.bytes.readUInt32BE(17)).toBe(clientCrc(encoded.bytes.subarray(21)));
        const batch = await readBatch(new Decoder(encoded.bytes));
        expect(batch).toMatchObject({
          inTransaction: true,
          isControlBatch: false,
          lastOffsetDelta: given.length - 1,
          producerId: String(sender.producerId),
          producerEpoch: sender.producerEpoch,
          firstSequence: sender.firstSequence,
          maxTimestamp: String(timestamp),
        });
        expect(batch.records.map(seen)).toEqual(given.map(expected));
      }),
      { numRuns: 50 },
    );
  });

  it('holds the stretch of records that it was made of', async () => {
    const given = Array.from(
      { length: 300 },
      (_, n): TestRecord => ({ key: null, value: Buffer.from(`${n}`), texts: ['', ''] }),
    );
    const encoded = encodeRecords(given, layout, recordSizes(given, layout), 100, 250, timestamp, Buffer.alloc);
    writeBatchHead(encoded, sender);
    const batch = await readBatch(new Decoder(encoded.bytes));
    expect(batch.records.map(({ value }: { value: Buffer }) => Number(value))).toEqual(
      Array.from({ length: 150 }, (_, n) => 100 + n),
    );
  });
});

// biome-ignore lint/suspicious/noExplicitAny: the client has no types for its inner parts
function seen({ key, value, timestamp: at, offset, headers }: any) {
  const texts = Object.fromEntries(Object.entries(headers).map(([name, bytes]) => [name, String(bytes)]));
  return { key: key && Buffer.from(key), value: value && Buffer.from(value), at, offset, texts };
}

function expected({ key, value, texts: [first, zweiter] }: TestRecord, index: number) {
  // Lone surrogates become U+FFFD in UTF-8.
  const utf8 = (of: string) => Buffer.from(of).toString();
  const headers = { same: 'für alle', other: '', first: utf8(first), zweiter: utf8(zweiter) };
  return { key, value, at: String(timestamp), offset: String(index), texts: headers };
}
