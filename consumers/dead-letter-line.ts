import { isUtf8 } from 'node:buffer';
import type { DeadLetter } from './ports.ts';

/**
 * A dead letter as one line of JSON, for media that have no headers.
 * @param truncatedFrom bytes of the original value, where not all of them are there.
 */
export function deadLetterLine(letter: DeadLetter, truncatedFrom?: number): string {
  const { key, value, reason, message, stream, partition, offset } = letter;
  const place = { reason, message, stream, partition, offset, key: asText(key) };
  const bytes = truncatedFrom === undefined ? asValue(value) : { ...asBase64(value), truncated_from: truncatedFrom };
  return `${JSON.stringify({ ...place, ...bytes })}\n`;
}

/** With as many bytes of the original value as a line of so many bytes has room for; a key that is too long by itself is left out. */
export function fittingDeadLetterLine(letter: DeadLetter, mostBytes: number): string {
  const whole = deadLetterLine(letter);
  if (Buffer.byteLength(whole) <= mostBytes || letter.value === null) return whole;
  const key = (letter.key?.length ?? 0) * 8 > mostBytes ? null : letter.key;
  const bare = deadLetterLine({ ...letter, key, value: Buffer.alloc(0) }, letter.value.length);
  // Base64 takes four bytes for three.
  const room = Math.max(0, Math.floor((mostBytes - Buffer.byteLength(bare)) / 4) * 3);
  return deadLetterLine({ ...letter, key, value: letter.value.subarray(0, room) }, letter.value.length);
}

function asText(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString('utf8');
}

interface Value {
  readonly value: string | null;
  readonly encoding?: 'base64';
}

/** Original bytes: as text where they are UTF-8, else in base64. */
function asValue(bytes: Buffer | null): Value {
  return bytes === null || isUtf8(bytes) ? { value: asText(bytes) } : asBase64(bytes);
}

function asBase64(bytes: Buffer | null): Value {
  return { value: bytes?.toString('base64') ?? null, encoding: 'base64' };
}
