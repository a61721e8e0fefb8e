import { deaggregate, type UserRecords } from '../consumers/kinesis/deaggregate.ts';
import { hashFilter } from '../consumers/kinesis/hash-range.ts';
import { aggregate } from '../test/support/aggregate.ts';
import { readHandbook } from '../test/support/handbook.ts';
import { jsonRecord } from './data.ts';
import { measure } from './measure.ts';

const events = 100_000;
const perAggregate = 250;
/** All hash keys but one: none of the records is left out, and each is looked at. */
const nearlyAll = { start: '1', end: String(2n ** 128n - 1n) };

/** User records out of aggregated ones of 30 to 50 KB, with and without a range of hash keys to hold them against. */
export async function benchKinesis(runs: number, only: (name: string) => boolean): Promise<void> {
  if (!only('kinesis.deaggregate')) return;
  const rows = await readHandbook(events);
  const aggregates: Buffer[] = [];
  for (let first = 0; first < events; first += perAggregate) {
    const part = rows.slice(first, first + perAggregate);
    aggregates.push(aggregate(part.map((row) => ({ key: row.customer_id, data: Buffer.from(jsonRecord(row)) }))));
  }
  for (const [name, filter] of [
    ['kinesis.deaggregate', undefined],
    ['kinesis.deaggregate.filtered', hashFilter(nearlyAll)],
  ] as const) {
    await measure(name, runs, events, () => {
      let count = 0;
      for (const data of aggregates) {
        const into: UserRecords = { keys: [], values: [], subs: [] };
        deaggregate('', data, filter, into);
        count += into.subs.length;
      }
      if (count !== events) throw new Error(`${count} of ${events} user records`);
    });
  }
}
