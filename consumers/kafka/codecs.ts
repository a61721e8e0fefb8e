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

/** Teaches the client zstd, by Node's own zlib; gzip it knows. Harmless when called again. */
export function installCodecs(): void {
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: ({ buffer }: { buffer: Buffer }) => compressors.zstd.compress(buffer),
    decompress: (buffer: Buffer) => decompressZstd(buffer),
  });
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
