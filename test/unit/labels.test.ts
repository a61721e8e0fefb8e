import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compileFor, createRun, type LogEvent } from '../support/feature-run.ts';

/** Labels that come late, out of order, twice, or before their transaction: at the end they count once, where the transaction stands. */
const groups = [
  {
    entity: 'card',
    windows: ['1h', '1d'],
    labels: 'at-transaction' as const,
    aggregates: ['count', 'ratio(chargeback)', 'ratio(refund)'],
  },
  {
    entity: 'card',
    windows: ['1d'],
    labels: 'at-transaction' as const,
    where: 'chargeback',
    aggregates: ['count', 'sum(amount)'],
  },
  {
    entity: 'card',
    windows: ['1d'],
    labels: 'at-transaction' as const,
    where: 'big',
    aggregates: ['count', 'ratio(chargeback)'],
  },
  { entity: 'card', windows: ['1d'], where: 'charged', aggregates: ['count'] },
];
const filters = { big: 'amount >= 5', charged: 'kind == "chargeback"' };
const hour = 3_600_000;
const set = compileFor(groups, { filters, allowedLatenessMs: 24 * hour });

const transactionArbitrary = fc.record({
  minute: fc.integer({ min: 0, max: 600 }),
  amount: fc.integer({ min: 0, max: 1000 }),
  chargebacks: fc.array(fc.integer({ min: -100, max: 900 }), { maxLength: 2 }),
  refunds: fc.array(fc.integer({ min: -100, max: 900 }), { maxLength: 2 }),
});

interface Entry extends LogEvent {
  /** When it comes in the log; events come up to minutes out of order. */
  readonly at: number;
}

function logOf(raw: readonly { minute: number; amount: number; chargebacks: number[]; refunds: number[] }[]): Entry[] {
  const start = 1_700_000_000_000;
  const entries = raw.flatMap(({ minute, amount, chargebacks, refunds }, n): Entry[] => {
    const id = `t${n}`;
    const label = (kind: string) => (delay: number, k: number) => {
      const time = start + (minute + delay) * 60_000;
      return { id: `${kind}${n}.${k}`, time, kind, refersTo: id, amount: 0, at: time };
    };
    const time = start + minute * 60_000;
    return [{ id, time, amount, at: time }, ...chargebacks.map(label('chargeback')), ...refunds.map(label('refund'))];
  });
  return entries.sort((a, b) => a.at - b.at);
}

describe('labels at their transaction', () => {
  it('equal a brute-force count over what is known by then', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(transactionArbitrary, { minLength: 1, maxLength: 25, size: 'max' }),
        fc.nat(4),
        async (raw, every) => {
          const run = createRun(set, 1);
          const log: LogEvent[] = [];
          for (const [index, event] of logOf(raw).entries()) {
            log.push(event);
            const features = (await run.apply({ ...event, reload: index % (every + 1) === 0 }))!;
            const inWindow = (widthMs: number) =>
              log.filter(
                ({ time, refersTo }) => refersTo === undefined && time > event.time - widthMs && time <= event.time,
              );
            const has = (kind: string) => (of: LogEvent) =>
              log.some((label) => label.kind === kind && label.refersTo === of.id);
            const [day, last] = [inWindow(24 * hour), inWindow(hour)];
            const big = day.filter(({ amount }) => amount! >= 500);
            const charged = day.filter(has('chargeback'));
            const share = (part: number, of: number) => (of === 0 ? 0 : part / of);
            const value = (name: string) => features.get(`card.${name}`)!.value;
            expect(value('count.1h.at-transaction')).toBe(last.length);
            expect(value('ratio.chargeback.1h.at-transaction')).toBe(
              share(last.filter(has('chargeback')).length, last.length),
            );
            expect(value('ratio.refund.1d.at-transaction')).toBe(share(day.filter(has('refund')).length, day.length));
            expect(value('count.chargeback.1d.at-transaction')).toBe(charged.length);
            expect(value('sum.amount.chargeback.1d.at-transaction')).toBe(
              charged.reduce((sum, { amount }) => sum + amount!, 0) / 100,
            );
            expect(value('ratio.chargeback.big.1d.at-transaction')).toBe(
              share(big.filter(has('chargeback')).length, big.length),
            );
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('count as events of their own at their own time', async () => {
    const run = createRun(set, 1);
    const start = 1_700_000_000_000;
    await run.apply({ id: 'a', time: start, amount: 900 });
    const features = await run.apply({ time: start + hour, kind: 'chargeback', refersTo: 'a' });
    expect(features!.get('card.count.charged.1d')!.value).toBe(1);
    expect(features!.get('card.count.1d.at-transaction')!.value).toBe(1);
  });

  it('are forgotten when their transaction never comes', async () => {
    const run = createRun(set, 1);
    const start = 1_700_000_000_000;
    for (let n = 0; n < 3000; n++)
      await run.apply({ time: start + n * 1000, kind: 'chargeback', refersTo: `never-${n}` });
    await run.reload();
    expect(run.store.bytes()).toBeLessThan(90_000);
  });

  it('say that they may lack some where transactions are folded', async () => {
    const folding = compileFor(groups.slice(0, 1), { filters, exactEvents: 8, allowedLatenessMs: hour });
    const run = createRun(folding, 1);
    const start = 1_700_000_000_000;
    for (let n = 0; n < 40; n++) await run.apply({ id: `t${n}`, time: start + n * 60_000 });
    const features = await run.apply({ id: 'l', time: start + hour, kind: 'chargeback', refersTo: 't2' });
    expect(features!.get('card.ratio.chargeback.1d.at-transaction')!.state).toBe('approximate');
    // What goes by no label is as exact as ever.
    expect(features!.get('card.count.1d.at-transaction')).toEqual({ value: 40, state: 'fresh', bounds: undefined });
  });

  it('go together with filters, and do not take themselves for their transaction', async () => {
    const both = compileFor([
      { entity: 'card', windows: ['1d'], labels: 'at-transaction', where: 'chargeback', aggregates: ['ratio(fraud)'] },
    ]);
    const run = createRun(both, 1);
    const start = 1_700_000_000_000;
    for (const [id, fraud] of [
      ['a', true],
      ['b', false],
      ['c', true],
    ] as const)
      await run.apply({ id, time: start, fraud });
    await run.apply({ id: 'a', time: start + 1, kind: 'chargeback', refersTo: 'a' });
    const features = await run.apply({ id: 'l', time: start + 2, kind: 'chargeback', refersTo: 'b' });
    expect(features!.get('card.ratio.fraud.chargeback.1d.at-transaction')!.value).toBe(0.5);
  });

  it('leave the exact integers alike in memory and stored', async () => {
    const labelled = compileFor([
      { entity: 'card', windows: ['1d'], labels: 'at-transaction', where: 'chargeback', aggregates: ['sum(amount)'] },
    ]);
    const start = 1_700_000_000_000;
    for (const reload of [false, true]) {
      const run = createRun(labelled, 1);
      for (let n = 0; n < 12; n++) await run.apply({ id: `t${n}`, time: start + n, amount: 2 ** 49 - n });
      const states: string[] = [];
      for (let n = 0; n < 12; n++) {
        const label = { time: start + 100 + n, kind: 'chargeback', refersTo: `t${n}`, reload };
        states.push((await run.apply(label))!.get('card.sum.amount.chargeback.1d.at-transaction')!.state);
      }
      // Eight of them come to just less than 2^52.
      expect(states.slice(0, 8)).toEqual(new Array(8).fill('fresh'));
      expect(states.slice(9)).toEqual(new Array(3).fill('approximate'));
    }
  });
});
