import { Encoder, type ProtocolEncoder } from './internals.ts';

/** What the client takes for encoded bytes. */
export type Bytes = Pick<ProtocolEncoder, 'buf' | 'buffer'>;

/** Bytes in whose memory there is room in front. */
const inPlace = new WeakSet<Bytes>();

/** The bytes with a head before them: written into the memory in front of them, which must be free, if there is enough. */
export function prepended(head: Buffer, bytes: Buffer): Bytes {
  const at = bytes.byteOffset - head.length;
  if (at < 0) {
    const copy = Buffer.concat([head, bytes]);
    return { buf: copy, buffer: copy };
  }
  const whole = Buffer.from(bytes.buffer, at, head.length + bytes.length);
  whole.set(head);
  const result = { buf: whole, buffer: whole };
  inPlace.add(result);
  return result;
}

let isInstalled = false;

/**
 * Lets the client put a request's head before bytes that are in place. Its way, a copy for each of two heads into zeroed memory of
 * up to twice the size, costs more than all of our writing.
 */
export function encodeInPlace(): void {
  if (isInstalled) return;
  isInstalled = true;
  const { writeEncoder } = Encoder.prototype;
  Encoder.prototype.writeEncoder = function (value) {
    if (!inPlace.has(value)) return writeEncoder.call(this, value);
    const { buf } = prepended(this.buffer, value.buffer);
    this.buf = buf;
    this.offset = buf.length;
    inPlace.add(this);
    return this;
  };
}
