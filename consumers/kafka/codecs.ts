import { promisify } from 'node:util';
import { gzip, zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs from 'kafkajs';
import { batchHeadBytes, type EncodedRecords, frontBytes } from './record-batch.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;

const compressors = {
  gzip: { type: CompressionTypes.GZIP, compress: promisify(gzip) },
  zstd: { type: CompressionTypes.ZSTD, compress: promisify(zstdCompress) },
};
const decompressZstd = promisify(zstdDecompress);

/** Teaches the client what else brokers may have: zstd by Node's own zlib, snappy and lz4 to read only. Harmless when called again. */
export function installCodecs(): void {
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: ({ buffer }: { buffer: Buffer }) => compressors.zstd.compress(buffer),
    decompress: (buffer: Buffer) => decompressZstd(buffer),
  });
  CompressionCodecs[CompressionTypes.Snappy] = () => ({ decompress: decompressSnappy });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({ decompress: decompressLz4 });
}

/** Before the blocks of snappy-java, which the Java clients use: its magic number, then two versions. */
const javaMagic = Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0]);
const javaHeadBytes = 16;

/** Snappy as the Java clients write it, in blocks with their lengths in front, or as the others do, in one. */
export async function decompressSnappy(bytes: Buffer): Promise<Buffer> {
  // Loaded where it is used: most topics do without.
  const { uncompress } = (await import('snappy')).default;
  if (!bytes.subarray(0, javaMagic.length).equals(javaMagic)) return (await uncompress(bytes)) as Buffer;
  const blocks: Buffer[] = [];
  for (let at = javaHeadBytes; at < bytes.length; ) {
    const end = at + 4 + bytes.readInt32BE(at);
    if (end > bytes.length) throw new RangeError('a snappy block is cut off');
    blocks.push((await uncompress(bytes.subarray(at + 4, end))) as Buffer);
    at = end;
  }
  return Buffer.concat(blocks);
}

async function decompressLz4(bytes: Buffer): Promise<Buffer> {
  const { decompressFrame } = (await import('lz4-napi')).default;
  return decompressFrame(bytes);
}

/** The same batch with its records compressed. */
export async function compressRecords(
  batch: EncodedRecords,
  name: 'none' | keyof typeof compressors,
): Promise<EncodedRecords> {
  if (name === 'none') return batch;
  const { type, compress } = compressors[name];
  const records = await compress(batch.bytes.subarray(batchHeadBytes));
  const start = frontBytes + batchHeadBytes;
  const whole = Buffer.allocUnsafeSlow(start + records.length);
  whole.set(records, start);
  return { ...batch, bytes: whole.subarray(frontBytes), compression: type };
}
