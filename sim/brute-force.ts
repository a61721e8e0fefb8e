import { epoch, windows } from './job.ts';
import type { InputRecord, TopicLog } from './kafka/log.ts';
import type { Settings } from './plan.ts';

/** A record that is a transaction, as it stands in the log. */
export interface Transaction {
  readonly partition: number;
  readonly offset: number;
  readonly id: string;
  readonly time: number;
  readonly card: string;
  readonly shop: string;
  /** Minor units. */
  readonly amount: number;
  /** When it was appended, virtual milliseconds. */
  readonly appendedAt: number;
  /** Deleted before it was read: it has no risk event, and whatever should have counted it has to say so. */
  readonly isLost: boolean;
}

/** What a partition's log holds, said in the plainest way. */
export interface JudgedLog {
  readonly transactions: readonly Transaction[];
  /** Those that repeat an earlier one, and are left out. */
  readonly repeats: readonly Transaction[];
  /** Offsets of records that are none. */
  readonly corrupt: readonly number[];
}

/**
 * @param isDeduplicating a transaction that came before, in the same partition, is left out.
 * @param isLost whether a record was deleted before it was read.
 */
export function judgeLogs(
  input: TopicLog<InputRecord>,
  isDeduplicating: boolean,
  isLost: (partition: number, offset: number) => boolean,
): JudgedLog[] {
  return input.partitions.map(({ entries }, partition) => {
    const transactions: Transaction[] = [];
    const repeats: Transaction[] = [];
    const corrupt: number[] = [];
    const seen = new Set<string>();
    for (const [offset, record] of entries.entries()) {
      if (record === undefined) continue;
      const fields = fieldsOf(record);
      const isGone = isLost(partition, offset);
      if (fields === undefined) {
        if (!isGone) corrupt.push(offset);
        continue;
      }
      const { ts: time, ...rest } = fields;
      const appendedAt = record.timestamp - epoch;
      const transaction: Transaction = { ...rest, partition, offset, time, appendedAt, isLost: isGone };
      if (isDeduplicating && seen.has(`${fields.card} ${fields.id}`)) repeats.push(transaction);
      else {
        if (!isGone) seen.add(`${fields.card} ${fields.id}`);
        transactions.push(transaction);
      }
    }
    return { transactions, repeats, corrupt };
  });
}

interface Fields {
  readonly id: string;
  readonly ts: number;
  readonly amount: number;
  readonly card: string;
  readonly shop: string;
}

function fieldsOf({ value }: InputRecord): Fields | undefined {
  try {
    const fields = JSON.parse(String(value)) as Fields;
    return fields?.card === undefined || fields.amount < 0 ? undefined : fields;
  } catch {
    return undefined;
  }
}

/** A feature by what it says: which transactions count. */
export interface Feature {
  readonly name: string;
  readonly entity: 'card' | 'shop';
  readonly isSum: boolean;
  readonly widthMs: number;
  readonly delayMs: number;
  readonly isCurrentExcluded: boolean;
}

const of = (
  entity: Feature['entity'],
  isSum: boolean,
  seconds: number,
  delay = 0,
  isCurrentExcluded = false,
): Feature => ({
  name:
    `${entity}.${isSum ? 'sum.amount' : 'count'}.${seconds}s` +
    `${delay > 0 ? `.delay-${delay}s` : ''}${isCurrentExcluded ? '.exclude-current' : ''}`,
  entity,
  isSum,
  widthMs: seconds * 1_000,
  delayMs: delay * 1_000,
  isCurrentExcluded,
});

const all: readonly Feature[] = [
  ...(['card', 'shop'] as const).flatMap((entity) =>
    [windows.short, windows.long].flatMap((seconds) => [of(entity, false, seconds), of(entity, true, seconds)]),
  ),
  of('card', false, windows.short, 0, true),
  of('shop', false, windows.delayed, windows.delay),
];

/** Those of job.ts. */
export function featuresOf({ areShopsDelayed }: Pick<Settings, 'areShopsDelayed'>): readonly Feature[] {
  return areShopsDelayed ? all.filter(({ entity, delayMs }) => entity === 'card' || delayMs > 0) : all;
}

/** What the feature is for the transaction when exactly those came before it. */
export function bruteValue(feature: Feature, current: Transaction, before: Iterable<Transaction>): number {
  const end = current.time - feature.delayMs;
  let value = 0;
  const add = (one: Transaction) => {
    if (one[feature.entity] !== current[feature.entity]) return;
    if (one.time <= end - feature.widthMs || one.time > end) return;
    value += feature.isSum ? one.amount : 1;
  };
  for (const one of before) add(one);
  if (!feature.isCurrentExcluded) add(current);
  return feature.isSum ? value / 100 : value;
}
