import { describe, expect, it } from '@jest/globals';
import { compileFor, createRun, type LogEvent } from '../support/feature-run.ts';

const start = 1_700_000_000_000;
const groups = [
  { entity: 'card', windows: ['10s', 'all'], aggregates: ['count', 'sum(amount)', 'max(amount)', 'distinct(device)'] },
];

async function totals(events: readonly LogEvent[], options: { idleMs?: number; exactEvents?: number } = {}) {
  const run = createRun(compileFor(groups, options), 2);
  const counts: number[] = [];
  for (const event of events) counts.push((await run.apply(event))!.get('card.count.all')!.value);
  return counts;
}

describe('windows without end', () => {
  it('count what has long left every other window, in memory and stored', async () => {
    for (const reload of [false, true]) {
      const run = createRun(compileFor(groups, { exactEvents: 64 }), 1);
      let last: ReadonlyMap<string, { value: number; state: string }> | undefined;
      for (let n = 0; n < 500; n++)
        last = await run.apply({ time: start + n * 3_600_000, amount: 1000 - n, device: `d${n % 7}`, reload });
      const value = (name: string) => [last!.get(name)!.value, last!.get(name)!.state];
      expect(value('card.count.all')).toEqual([500, 'fresh']);
      expect(value('card.sum.amount.all')).toEqual([(1000 * 500 - (499 * 500) / 2) / 100, 'fresh']);
      expect(value('card.max.amount.all')).toEqual([10, 'fresh']);
      expect(value('card.distinct.device.all')).toEqual([7, 'fresh']);
      expect(value('card.count.10s')).toEqual([1, 'fresh']);
    }
  });

  it('begin anew after more than the idle time, and not a moment earlier', async () => {
    const idleMs = 20_000;
    const at = (...seconds: number[]) => seconds.map((second) => ({ time: start + second * 1000 }));
    expect(await totals(at(0, 20, 40), { idleMs })).toEqual([1, 2, 3]);
    expect(await totals(at(0, 20.001), { idleMs })).toEqual([1, 1]);
    expect(await totals(at(0, 5, 25, 45.001, 50), { idleMs })).toEqual([1, 2, 3, 1, 2]);
  });

  it('leave out a partition that has been idle for longer', async () => {
    const [a, b] = [0, 1];
    const log = [
      { time: start, partition: a },
      { time: start + 20_000, partition: b },
      { time: start + 20_001, partition: b },
      { time: start + 20_002, partition: a },
    ];
    expect(await totals(log, { idleMs: 20_000 })).toEqual([1, 2, 2, 3]);
  });

  it('hold without any lateness or other window, with a delay, and say when an event came too late for them', async () => {
    const start = 1_700_000_000_000;
    const day = 86_400_000;
    const set = compileFor([
      {
        entity: 'card',
        windows: ['all'],
        aggregates: ['count', 'stddev(amount)', 'time-since-last'],
        current: 'exclude',
      },
    ]);
    const run = createRun(set, 1);
    let last: ReadonlyMap<string, { value: number; state: string }> | undefined;
    for (let n = 0; n < 40; n++) last = await run.apply({ time: start + n * 1000, amount: 100 + (n % 2) * 200 });
    expect(last!.get('card.count.all.exclude-current')).toMatchObject({ value: 39, state: 'fresh' });
    expect(last!.get('card.time-since-last.all.exclude-current')).toMatchObject({ value: 1, state: 'fresh' });
    await run.apply({ time: start });
    const later = await run.apply({ time: start + 41_000, reload: true });
    expect(later!.get('card.count.all.exclude-current')).toMatchObject({ state: 'incomplete' });

    const delayed = createRun(
      compileFor([{ entity: 'card', windows: ['all'], delay: '7d', aggregates: ['count'] }]),
      1,
    );
    for (let n = 0; n < 30; n++) last = await delayed.apply({ time: start + n * day });
    expect(last!.get('card.count.all.delay-7d')).toMatchObject({ value: 23, state: 'fresh' });
  });
});
