import { endianness } from 'node:os';

/** CRC-32C (Castagnoli) of a stretch of bytes, sixteen at a time ("slicing", Kounavis and Berry 2005). @returns unsigned. */
export function crc32c(bytes: Uint8Array, from: number, to: number): number {
  // Whole words can be read where one begins.
  const head = Math.min(to, from + (-(bytes.byteOffset + from) & 3));
  const blocks = endianness() === 'LE' ? (to - head) >> 4 : 0;
  let crc = slow(-1, bytes, from, head);
  if (blocks > 0) crc = fast(crc, new Int32Array(bytes.buffer, bytes.byteOffset + head, blocks * 4));
  return ~slow(crc, bytes, head + blocks * 16, to) >>> 0;
}

function slow(start: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = start;
  for (let at = from; at < to; at++) crc = table[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  return crc;
}

function fast(start: number, words: Int32Array): number {
  let crc = start;
  for (let at = 0; at < words.length; at += 4) {
    const first = crc ^ words[at];
    const second = words[at + 1];
    const third = words[at + 2];
    const fourth = words[at + 3];
    crc =
      table[0xf00 | (first & 0xff)] ^
      table[0xe00 | ((first >>> 8) & 0xff)] ^
      table[0xd00 | ((first >>> 16) & 0xff)] ^
      table[0xc00 | (first >>> 24)] ^
      table[0xb00 | (second & 0xff)] ^
      table[0xa00 | ((second >>> 8) & 0xff)] ^
      table[0x900 | ((second >>> 16) & 0xff)] ^
      table[0x800 | (second >>> 24)] ^
      table[0x700 | (third & 0xff)] ^
      table[0x600 | ((third >>> 8) & 0xff)] ^
      table[0x500 | ((third >>> 16) & 0xff)] ^
      table[0x400 | (third >>> 24)] ^
      table[0x300 | (fourth & 0xff)] ^
      table[0x200 | ((fourth >>> 8) & 0xff)] ^
      table[0x100 | ((fourth >>> 16) & 0xff)] ^
      table[fourth >>> 24];
  }
  return crc;
}

/** Row r: the effect of a byte that r zero bytes follow. */
const table = makeTable();

function makeTable(): Int32Array {
  const rows = new Int32Array(16 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    rows[byte] = crc;
  }
  for (let at = 256; at < rows.length; at++) rows[at] = rows[rows[at - 256] & 0xff] ^ (rows[at - 256] >>> 8);
  return rows;
}
