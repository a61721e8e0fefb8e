import type { DeadLetter } from '../ports.ts';
import { type RecordLayout, recordSizes } from './record-batch.ts';

/** A dead letter as it is sent: one that no broker would take is cut. */
export interface SentLetter extends DeadLetter {
  /** Bytes of the original value, where not all of them are sent. */
  readonly truncatedFrom?: number;
}

/** Headers beside key and value are a few hundred bytes. */
const surelyHeaders = 4_096;

/**
 * The letter, its value cut so that the record has at most so many bytes, a key of more than half of them to that half. A dead letter
 * that the brokers refuse for its size would come again with each new try, and its partition would never go on.
 */
export function fitLetter(letter: DeadLetter, layout: RecordLayout<SentLetter>, mostBytes: number): SentLetter {
  const valueBytes = letter.value?.length ?? 0;
  const keyBytes = letter.key?.length ?? 0;
  if (valueBytes + keyBytes + surelyHeaders <= mostBytes) return letter;
  const sizeOf = (sent: SentLetter) => recordSizes([sent], layout)[0];
  if (sizeOf(letter) <= mostBytes) return letter;
  const key = letter.key?.subarray(0, mostBytes >> 1) ?? null;
  const bare: SentLetter = { ...letter, key, value: null, truncatedFrom: valueBytes };
  if (letter.value === null) return bare;
  // The value's length takes up to five bytes, where null takes one.
  const room = Math.max(0, mostBytes - sizeOf(bare) - 4);
  return { ...bare, value: letter.value.subarray(0, room) };
}
