/**
 * As much of Protocol Buffers' wire format as it takes to read KPL's messages. Reading goes on at `at`; whatever the bytes are, nothing
 * is read beyond `end`.
 */
export interface WireReader {
  at: number;
  readonly end: number;
  readonly bytes: Buffer;
}

/** The bytes are no message. */
export class WireError extends Error {}

/** Types of a field's value on the wire. */
export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** An unsigned number below 2^53. @throws WireError also where it is larger. */
export function readVarint(reader: WireReader): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    if (reader.at >= reader.end) throw new WireError('a number is cut off');
    const byte = reader.bytes[reader.at++];
    value += (byte & 0x7f) * scale;
    if (value > Number.MAX_SAFE_INTEGER) throw new WireError('a number is too large');
    if (byte < 0x80) return value;
    scale *= 128;
  }
}

/** Where the length-prefixed value that comes next ends; it begins at `at`. */
export function readLength(reader: WireReader): number {
  const length = readVarint(reader);
  const end = reader.at + length;
  if (end > reader.end) throw new WireError('a value is cut off');
  return end;
}

/** Passes over the value of a field that is not known. */
export function skipValue(reader: WireReader, type: number): void {
  if (type === wireType.varint) skipVarint(reader);
  else if (type === wireType.bytes) reader.at = readLength(reader);
  else if (type === wireType.fixed64) reader.at += 8;
  else if (type === wireType.fixed32) reader.at += 4;
  else throw new WireError(`a field of wire type ${type}`);
  if (reader.at > reader.end) throw new WireError('a value is cut off');
}

/** Ten bytes hold what has 64 bits, whatever its value. */
function skipVarint(reader: WireReader): void {
  for (let length = 1; length <= 10 && reader.at < reader.end; length++) {
    if (reader.bytes[reader.at++] < 0x80) return;
  }
  throw new WireError('a number is cut off');
}
