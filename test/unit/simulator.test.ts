import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { customersFor, defaultStart, type SimulationOptions, simulateTransactions } from '../../simulator/stream.ts';
import { csvHeader, csvLine, fraudKinds, jsonLine, type SimulatedTransaction } from '../../simulator/transaction.ts';

const day = 86_400_000;
const simulate = (options: SimulationOptions): SimulatedTransaction[] => [...simulateTransactions(options)];
const digest = (transactions: readonly SimulatedTransaction[]) =>
  createHash('sha256').update(transactions.map(jsonLine).join('\n')).digest('hex');

const someOptions = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  events: fc.integer({ min: 0, max: 3000 }),
  customers: fc.option(fc.integer({ min: 10, max: 2000 }), { nil: undefined }),
  terminals: fc.option(fc.integer({ min: 10, max: 500 }), { nil: undefined }),
  start: fc.option(fc.integer({ min: 0, max: 2 * defaultStart }), { nil: undefined }),
});

describe('simulated transactions', () => {
  it('are the same for the same seed and others for another', () => {
    const options = { seed: 42, events: 5000 };
    expect(digest(simulate(options))).toBe(digest(simulate(options)));
    expect(digest(simulate(options))).not.toBe(digest(simulate({ ...options, seed: 43 })));
  });

  it('are what they always were', () => {
    const sums = [42, 7].map((seed) => digest(simulate({ seed, events: 5000 })));
    expect(sums).toEqual([
      'c232246b8fa4b97895145b7fc210151c96102357edb1a479dfbecf76740b28a4',
      '64652522e492fae2bac155cf02ca2803ae55a8246eeca46e7d2c25a387c9975a',
    ]);
  });

  it('do not depend on how many are taken, for one population', () => {
    const options = { seed: 7, customers: 200, terminals: 60 };
    const many = simulate({ ...options, events: 3000 });
    expect(digest(simulate({ ...options, events: 1000 }))).toBe(digest(many.slice(0, 1000)));
  });

  it('come in order of time with unique ids and well-formed values, for any options', () => {
    fc.assert(
      fc.property(someOptions, (options) => {
        const transactions = simulate(options);
        expect(transactions.length).toBe(options.events);
        expect(new Set(transactions.map((t) => t.id)).size).toBe(options.events);
        let before = options.start ?? defaultStart;
        for (const t of transactions) {
          if (t.ts < before || !Number.isSafeInteger(t.ts)) throw new Error(`${t.id} at ${t.ts} after ${before}`);
          before = t.ts;
          if (!/^(0|[1-9]\d*)\.\d\d$/.test(t.amount) || !(Number(t.amount) > 0)) throw new Error(`amount ${t.amount}`);
          const ids = [t.id, t.card.id, t.card.bin, t.account.id, t.terminal.id, t.terminal.mcc];
          if (ids.some((id) => id === '') || t.account.age_days < 0) throw new Error(jsonLine(t));
          if ((t.device !== undefined) !== (t.entry === 'online')) throw new Error(`device in ${jsonLine(t)}`);
          if (t.fraud !== (t.fraud_kind !== 'none')) throw new Error(`label of ${jsonLine(t)}`);
        }
      }),
      { numRuns: 60 },
    );
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 2 ** 32 - 1])('hold every kind of fraud in 20,000, seed %i', (seed) => {
    const transactions = simulate({ seed, events: 20_000 });
    for (const kind of fraudKinds) expect(transactions.filter((t) => t.fraud_kind === kind).length).toBeGreaterThan(0);
    const share = transactions.filter((t) => t.fraud).length / transactions.length;
    expect(share).toBeGreaterThan(0.005);
    expect(share).toBeLessThan(0.015);
    expect(transactions.at(-1)!.ts - transactions[0].ts).toBeGreaterThan(14 * day);
  });

  it('are believable: two a shopper and day, few at night, a few per cent declined for ordinary reasons', () => {
    const events = 50_000;
    const transactions = simulate({ seed: 11, events });
    const days = (transactions.at(-1)!.ts - transactions[0].ts) / day;
    const perShopperDay = events / customersFor(events) / days;
    expect(perShopperDay).toBeGreaterThan(1.8);
    expect(perShopperDay).toBeLessThan(2.2);
    const between = (from: number, to: number) =>
      transactions.filter(({ ts }) => new Date(ts).getUTCHours() >= from && new Date(ts).getUTCHours() < to).length;
    expect(between(0, 4)).toBeLessThan(between(15, 19) / 5);
    const ordinary = transactions.filter((t) => !t.fraud);
    const declined = ordinary.filter((t) => t.outcome === 'declined').length / ordinary.length;
    expect(declined).toBeGreaterThan(0.02);
    expect(declined).toBeLessThan(0.045);
  });

  it('cannot be told from fraud by one look: what marks fraud also happens to honest shoppers', () => {
    const ordinary = simulate({ seed: 5, events: 50_000 }).filter((t) => !t.fraud);
    const devices = new Map<string, Set<string>>();
    for (const { account, device } of ordinary) {
      if (device === undefined) continue;
      devices.set(account.id, (devices.get(account.id) ?? new Set()).add(device.id));
    }
    expect([...devices.values()].filter((known) => known.size > 2).length).toBeGreaterThan(100);
    expect(ordinary.filter((t) => Number(t.amount) > 500).length).toBeGreaterThan(200);
    expect(ordinary.filter((t) => t.entry === 'magstripe').length).toBeGreaterThan(200);
    expect(
      ordinary.filter((t) => t.entry !== 'online' && t.terminal.country !== t.card.country).length,
    ).toBeGreaterThan(500);
  });
});

describe('lines', () => {
  const transactions = simulate({ seed: 9, events: 2000 });

  it('of JSON are those of JSON.stringify', () => {
    for (const transaction of transactions) expect(jsonLine(transaction)).toBe(JSON.stringify(transaction));
  });

  it('of CSV carry the same data as those of JSON', () => {
    const columns = csvHeader.split(',');
    for (const t of transactions) {
      const values = csvLine(t).split(',');
      expect(values.length).toBe(columns.length);
      const row = Object.fromEntries(columns.map((column, i) => [column, values[i]]));
      expect(fromCsv(row)).toEqual(JSON.parse(jsonLine(t)));
    }
  });
});

function fromCsv(row: Record<string, string>): unknown {
  const { id, type, amount, currency, entry, outcome, fraud_kind } = row;
  const device = row.device_id === '' ? {} : { device: { id: row.device_id, ip: row.ip } };
  return {
    ...{ id, ts: Number(row.ts), type, amount, currency, entry, outcome, fraud: row.fraud === 'true', fraud_kind },
    card: { id: row.card_id, bin: row.card_bin, country: row.card_country },
    account: { id: row.account_id, email_domain: row.email_domain, age_days: Number(row.age_days) },
    terminal: { id: row.terminal_id, mcc: row.mcc, country: row.terminal_country },
    ...device,
  };
}
