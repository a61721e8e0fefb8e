import { describe, expect, it } from '@jest/globals';
import type { EventLayout } from '../../features/columns.ts';
import { type FeaturesConfig, featuresConfig } from '../../features/config.ts';
import { compileFeatures } from '../../features/definition.ts';

const layout: EventLayout = {
  fields: [
    { name: 'amount', type: 'money', scale: 2, optional: false },
    { name: 'fraud', type: 'flag', scale: 0, optional: false },
    { name: 'device', type: 'text', scale: 0, optional: true },
  ],
  entities: [{ name: 'card' }, { name: 'terminal' }],
  kinds: ['authorization', 'chargeback', 'refund'],
};
const filters = { approved: 'kind == "authorization" and amount < 500' };
const compile = (groups: unknown, by = layout, lateness = 0) =>
  compileFeatures(featuresConfig.parse(groups) as FeaturesConfig, filters, by, lateness);
const messages = (groups: unknown) =>
  compile(groups).faults.map(({ path, message }) => `${path.join('.')}: ${message}`);

describe('feature definitions', () => {
  it('names features as DESIGN says: entity, aggregate, field, filter, window, delay', () => {
    const { set } = compile([
      { event: ['amount', 'is-weekend'] },
      { entity: 'card', windows: ['24h'], aggregates: ['sum(amount)', 'count'], where: 'approved' },
      { entity: 'terminal', windows: ['7d'], delay: '7d', aggregates: ['ratio(fraud)'] },
      {
        entity: 'card',
        windows: ['1h'],
        aggregates: ['count', 'is-new(device)', 'time-since-last'],
        current: 'exclude',
      },
    ]);
    expect(set!.names).toEqual([
      'amount',
      'is-weekend',
      'card.sum.amount.approved.24h',
      'card.count.approved.24h',
      'terminal.ratio.fraud.7d.delay-7d',
      'card.count.1h.exclude-current',
      'card.is-new.device.1h.exclude-current',
      'card.time-since-last.1h.exclude-current',
    ]);
    expect(set!.horizonMs).toBe(14 * 86_400_000);
  });

  it('keeps the hash and the recipe apart: equal definitions, equal hash; the recipe says what is retained', () => {
    const one = [{ entity: 'card', windows: ['1h', '24h'], aggregates: ['count', 'sum(amount)'] }];
    const fewer = [{ entity: 'card', windows: ['24h'], aggregates: ['sum(amount)'] }];
    expect(compile(one).set!.hash).toBe(compile(one).set!.hash);
    expect(compile(fewer).set!.hash).not.toBe(compile(one).set!.hash);
    expect(compile(fewer).set!.recipe).toBe(compile(one).set!.recipe);
    expect(compile(one, layout, 1000).set!.recipe).not.toBe(compile(one).set!.recipe);
    const cents = {
      ...layout,
      fields: layout.fields.map((field) => (field.name === 'amount' ? { ...field, scale: 3 } : field)),
    };
    expect(compile(one, cents).set!.hash).not.toBe(compile(one).set!.hash);
    expect(compile(one, cents).set!.recipe).not.toBe(compile(one).set!.recipe);
  });

  it('shares what features have in common', () => {
    const { set } = compile([
      {
        entity: 'card',
        windows: ['1h', '24h'],
        aggregates: ['count', 'sum(amount)', 'mean(amount)', 'stddev(amount)'],
      },
    ]);
    const [plan] = set!.entities;
    expect(plan.numbers).toEqual([{ field: 0, longitude: -1 }]);
    expect(plan.cumulatives.map(({ kind }) => kind)).toEqual(['sum', 'square']);
    expect(plan.bounds).toEqual([0, 3_600_000, 86_400_000]);
    expect(plan.readings).toHaveLength(8);
  });

  it.each([
    [
      [{ entity: 'crad', windows: ['1h'], aggregates: ['count'] }],
      'features.0.entity: there is no entity crad (did you mean card?)',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['cuont'] }],
      'features.0.aggregates.0: there is no aggregate cuont (did you mean count?)',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['sum(amuont)'] }],
      'features.0.aggregates.0: there is no field amuont (did you mean amount?)',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['sum(device)'] }],
      'features.0.aggregates.0: the field device is text',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['is-new(amount)'] }],
      'features.0.aggregates.0: the field amount is not text',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['sum'] }],
      'features.0.aggregates.0: sum needs an argument, such as sum(amount)',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['count(amount)'] }],
      'features.0.aggregates.0: count takes no argument',
    ],
    [
      [{ entity: 'card', windows: ['401d'], aggregates: ['count'] }],
      'features.0.windows.0: a window is at most 400d, or all; got 401d',
    ],
    [
      [{ entity: 'card', windows: ['1h'], aggregates: ['count'], where: 'aproved' }],
      'features.0.where: there is no filter or flag field aproved (did you mean approved?)',
    ],
    [
      [{ entity: 'card', windows: ['1h', '1h'], aggregates: ['count'] }],
      'features.0.aggregates.0: the feature card.count.1h is defined twice',
    ],
    [[{ entity: 'card', aggregates: ['count'] }], 'features.0: windows is missing: a list such as [1h, 24h]'],
    [
      [{ windows: ['1h'], aggregates: ['count'] }],
      'features.0: a group of features needs `entity` (or `event`, or `expression`)',
    ],
    [[{ event: ['amuont'] }], 'features.0.event.0: there is no field amuont (did you mean amount?)'],
    [[{ event: ['amount'], delay: '1d' }], 'features.0.delay: delay does not go with event features'],
    [
      [{ entity: 'card', windows: ['all'], aggregates: ['burst(1d)'] }],
      'features.0.aggregates.0: burst needs windows with a width, not all',
    ],
    [
      [{ entity: 'card', windows: ['1d'], aggregates: ['burst(1h)'] }],
      'features.0.aggregates.0: the window of burst must be longer than 1d',
    ],
    [
      [{ entity: 'card', windows: ['1d'], aggregates: ['ratio(chargeback)'] }],
      'features.0.aggregates.0: there is no filter or flag field chargeback; for events that are labelled so later, add labels: at-transaction',
    ],
    [
      [{ entity: 'card', windows: ['1d'], labels: 'at-transaction', aggregates: ['ratio(charegback)'] }],
      'features.0.aggregates.0: there is no filter, flag field or kind of label charegback (did you mean chargeback?)',
    ],
    [
      [
        {
          entity: 'card',
          windows: ['1d'],
          labels: 'at-transaction',
          where: 'refund',
          aggregates: ['ratio(chargeback)'],
        },
      ],
      'features.0.aggregates.0: chargeback and refund are both labels; one feature can go by one',
    ],
    [[{ expression: 'amount * 2' }], 'features.0: an expression needs a `name` for its feature'],
    [
      [{ event: ['amount'] }, { name: 'double', expression: 'amuont * 2' }],
      'features.1.expression: unknown name amuont at column 1 of amuont * 2 (did you mean amount?)',
    ],
  ])('says what is wrong and where: %j', (groups, message) => {
    expect(messages(groups)).toEqual([message]);
  });

  it('refuses what may take too much state, with its size and what to change', () => {
    const group = [{ entity: 'card', windows: ['1h', '90d'], aggregates: ['distinct(device)', 'sum(amount)'] }];
    const greedy = { ...layout, entities: [{ name: 'card', exactEvents: 2_000_000 }, { name: 'terminal' }] };
    expect(compile(group).faults).toEqual([]);
    expect(compile(group, greedy).faults).toEqual([
      {
        path: ['features'],
        message: expect.stringMatching(
          /^one card may take \d+ MiB of state; at most 32 are possible: lower event.entities.card.exact_events/,
        ),
      },
    ]);
  });

  it('computes expressions over other features, also over earlier expressions', () => {
    const { set } = compile([
      { name: 'twice', expression: 'amount * 2' },
      { name: 'more', expression: 'twice + 1' },
      { event: ['amount'] },
    ]);
    const values = [Number.NaN, Number.NaN, 21];
    for (const { column, evaluate } of set!.derived) values[column] = evaluate((index) => values[index]);
    expect(values).toEqual([42, 43, 21]);
    expect(set!.definitions[1]).toContain('twice: expression amount * 2 with amount: event amount with 2 decimals');
  });
});
