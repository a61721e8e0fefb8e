import { deaggregate, type UserRecords } from './deaggregate.ts';
import type { HashFilter } from './hash-range.ts';
import type { Numbering } from './numbering.ts';
import type { Place } from './positions.ts';
import type { ShardRecord } from './shard-log.ts';

/** One page's user records as columns, each with its number. */
export interface NumberedPage extends UserRecords {
  readonly offsets: number[];
  readonly timestamps: number[];
  /** By user record: index of its Kinesis record in `places`. */
  readonly at: number[];
  readonly places: Place[];
  /** Places whose number was not counted from an anchor. */
  readonly beginnings: Place[];
  /** The position behind the page. */
  readonly next: number;
  readonly bytes: number;
}

/**
 * Takes the records apart and numbers them; those before the position are left out.
 * @param isAtEnd nothing is in the log behind these records.
 * @param cut what is thrown where a record's number can only be counted back.
 */
export function numberPage(
  records: readonly ShardRecord[],
  isAtEnd: boolean,
  numbering: Numbering,
  filter: HashFilter | undefined,
  position: number,
  cut: () => Error,
): NumberedPage {
  const columns: Omit<NumberedPage, 'next' | 'bytes'> = {
    keys: [],
    values: [],
    subs: [],
    offsets: [],
    timestamps: [],
    at: [],
    places: [],
    beginnings: [],
  };
  let bytes = 0;
  for (const { sequence, partitionKey, data, arrivedAt } of records) {
    const before = columns.subs.length;
    const users = deaggregate(partitionKey, data, filter, columns);
    const place = numbering.place(sequence, arrivedAt, users);
    if (numbering.isCut) throw cut();
    const { number } = place;
    if (numbering.isUnanchored) columns.beginnings.push(place);
    if (number < position) leaveOut(columns, before, position - number);
    for (let row = before; row < columns.subs.length; row++) {
      columns.offsets.push(number + columns.subs[row]);
      columns.timestamps.push(arrivedAt);
      columns.at.push(columns.places.length);
    }
    columns.places.push(place);
    bytes += data.length + partitionKey.length;
  }
  if (isAtEnd) numbering.reachEnd();
  const reached = isAtEnd || records.length > 0 ? numbering.next : position;
  return { ...columns, next: Math.max(position, reached), bytes };
}

/** Drops the rows from `before` on whose sub-sequence number is too low. */
function leaveOut({ keys, values, subs }: UserRecords, before: number, leastSub: number): void {
  let dropped = 0;
  while (before + dropped < subs.length && subs[before + dropped] < leastSub) dropped++;
  for (const column of [keys, values, subs]) column.splice(before, dropped);
}
