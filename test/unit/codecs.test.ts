import { describe, expect, it } from '@jest/globals';
import snappy from 'snappy';
import { decompressSnappy, installCodecs } from '../../consumers/kafka/codecs.ts';
import { crc32c } from '../../consumers/kafka/crc32c.ts';
import { decodeRecords } from '../../consumers/kafka/fetch-answer.ts';
import { encodeRecords, headerLayout, recordSizes, writeBatchHead } from '../../consumers/kafka/record-batch.ts';

const text = Buffer.from('0123456789'.repeat(1_000));

describe('snappy', () => {
  it('is read as one block, as most clients write it', async () => {
    expect((await decompressSnappy(await snappy.compress(text))).equals(text)).toBe(true);
  });

  it('is read in blocks with a head, as the Java clients write it, unless one is cut off', async () => {
    const head = Buffer.from('82534e415050590000000001 00000001'.replace(' ', ''), 'hex');
    const block = await snappy.compress(text);
    const length = Buffer.alloc(4);
    length.writeInt32BE(block.length);
    const framed = Buffer.concat([head, length, block, length, block]);
    expect((await decompressSnappy(framed)).equals(Buffer.concat([text, text]))).toBe(true);
    await expect(decompressSnappy(framed.subarray(0, -1))).rejects.toThrow('cut off');
  });
});

describe('fetched batches', () => {
  const none = headerLayout({}, []);
  const layout = { key: () => null, value: () => text, headers: () => none, header: () => '' };

  /** A batch as it is stored, beginning at the offset. */
  function batch(offset: number, records: number): Buffer {
    const of = Array.from({ length: records }, () => ({}));
    const encoded = encodeRecords(of, layout, recordSizes(of, layout), 0, records, 1e12, Buffer.allocUnsafeSlow);
    writeBatchHead(encoded, { isTransactional: false, producerId: -1n, producerEpoch: -1, firstSequence: -1 });
    encoded.bytes.writeBigInt64BE(BigInt(offset));
    return encoded.bytes;
  }

  it('are given up to one of an unknown compression, which is named once it is the first', async () => {
    installCodecs();
    const unknown = batch(7, 3);
    unknown.writeInt16BE(5, 21);
    const { messages, undecodable } = await decodeRecords(Buffer.concat([batch(5, 2), unknown, batch(10, 1)]));
    expect([messages.length, undecodable]).toEqual([2, undefined]);
    const alone = await decodeRecords(Buffer.concat([unknown, batch(10, 1)]));
    expect(alone.messages).toEqual([]);
    expect(alone.undecodable).toMatchObject({ offset: 7, next: 10, codec: 'number 5' });
  });

  it('say where they end, whatever compaction has left of them', async () => {
    const [whole, empty] = [batch(4, 2), batch(6, 3)];
    empty.writeInt32BE(0, 57);
    const bare = empty.subarray(0, 61);
    bare.writeInt32BE(61 - 12, 8);
    bare.writeUInt32BE(crc32c(bare, 21, bare.length), 17);
    expect(await decodeRecords(bare)).toEqual({ messages: [], next: 9 });
    expect(await decodeRecords(Buffer.concat([whole, bare]))).toMatchObject({ messages: { length: 2 }, next: 9 });
    expect(await decodeRecords(Buffer.alloc(0))).toEqual({ messages: [], next: undefined });
    const damaged = batch(9, 1);
    damaged.writeInt16BE(5, 21);
    expect(await decodeRecords(Buffer.concat([bare, damaged]))).toEqual({ messages: [], next: 9 });
  });

  it('are not taken for what they are not where a bit of a value has changed', async () => {
    const changed = batch(3, 2);
    changed[changed.indexOf(text) + 7] ^= 1;
    expect((await decodeRecords(changed)).undecodable).toMatchObject({
      offset: 3,
      next: 5,
      codec: 'none',
      cause: new RangeError('its checksum does not fit its bytes'),
    });
    expect(await decodeRecords(Buffer.concat([batch(1, 2), changed]))).toMatchObject({
      messages: { length: 2 },
      next: 3,
    });
  });

  it('are read whether the producer or the broker has given them their time', async () => {
    installCodecs();
    const stamped = batch(0, 2);
    stamped.writeInt16BE(8, 21);
    stamped.writeUInt32BE(crc32c(stamped, 21, stamped.length), 17);
    const { messages, undecodable } = await decodeRecords(stamped);
    expect([messages.length, undecodable]).toEqual([2, undefined]);
  });

  it('end at a last one that is cut off', async () => {
    const { messages, undecodable } = await decodeRecords(Buffer.concat([batch(0, 2), batch(2, 1).subarray(0, -1)]));
    expect([messages.length, undecodable]).toEqual([2, undefined]);
  });

  it('cannot be shorter than they are without records', async () => {
    const short = batch(3, 1);
    short.writeInt32BE(-100, 8);
    expect((await decodeRecords(short)).undecodable).toMatchObject({
      offset: 3,
      cause: new RangeError('a length of -88 bytes is too short'),
    });
  });
});
