import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import type { LeaseItem } from '../../consumers/kinesis/lease.ts';
import {
  type Anchor,
  firstNumber,
  type Place,
  type PositionTexts,
  withBeginning,
  withFence,
  writePositions,
} from '../../consumers/kinesis/positions.ts';

/** Item size up to which DynamoDB takes one unit for a write. */
export const bytesPerWriteUnit = 1_024;

/** An item's size by DynamoDB's rules: names and texts in UTF-8, two digits of a number a byte, and one more. */
export function itemBytes(item: LeaseItem): number {
  return Object.entries(item).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + valueBytes(value), 0);
}

function valueBytes({ S, N, SS = [] }: AttributeValue): number {
  if (N !== undefined) return Math.ceil(N.replace(/\D/g, '').length / 2) + 1;
  return [S ?? '', ...SS].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

const firstSequence = 5n * 10n ** 55n;
const perRecord = 1_000_003n;

/** A sequence number of the length that real ones have. */
export function longSequence(record: number): string {
  return String(firstSequence + BigInt(record) * perRecord);
}

/** Which record has the sequence number. */
export function recordOf(sequence: string): number {
  return Number((BigInt(sequence) - firstSequence) / perRecord);
}

const batch = 1_500;

/** What the lease of a shard keeps of positions that is read and stored on and on, batch by batch. */
export interface BusyShard {
  /** Its records are read and stored up to this one. */
  readTo(record: number): void;
  /** Retention has deleted what follows. */
  passGap(): void;
  positions(): PositionTexts;
  /** As far as this one, and on by itself. */
  copy(): BusyShard;
}

export function busyShard(): BusyShard {
  return shardFrom([{ ...place(0), isJump: true }], 0);
}

const place = (number: number): Place => ({ number: firstNumber + number, users: 1, sequence: longSequence(number) });

function shardFrom(anchors: readonly Anchor[], last: number): BusyShard {
  return {
    readTo(record) {
      for (; last + batch <= record; last += batch) anchors = withFence(anchors, place(last));
    },
    passGap() {
      anchors = withBeginning(anchors, place(last + 1));
    },
    positions: () => writePositions({ checkpoint: place(last), anchors }),
    copy: () => shardFrom(anchors, last),
  };
}
