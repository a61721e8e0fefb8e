import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { catalogue } from '../../features/aggregates/catalogue.ts';
import type { EventLayout } from '../../features/columns.ts';
import { featuresConfig } from '../../features/config.ts';
import { compileFeatures } from '../../features/definition.ts';
import { describeFeature } from '../../features/describe.ts';
import { commonEventBytes, eventBytes } from '../../features/footprint.ts';
import type { FeatureSet } from '../../features/plan.ts';

const field = (name: string, type: EventLayout['fields'][number]['type'], scale = 0) => ({
  ...{ name, type, scale, optional: false },
});
const layout: EventLayout = {
  fields: [
    field('amount', 'money', 2),
    field('latitude', 'number', 5),
    field('longitude', 'number', 5),
    field('fraud', 'flag'),
    field('device', 'text'),
    field('merchant', 'text'),
  ],
  entities: [{ name: 'card' }, { name: 'terminal' }],
  kinds: ['authorization', 'chargeback'],
};

function compile(...groups: object[]): FeatureSet {
  const filters = { approved: 'amount > 0', declined: 'amount < 0' };
  const { set, faults } = compileFeatures(featuresConfig.parse(groups), filters, layout, 0);
  expect(faults).toEqual([]);
  return set!;
}

/** By name: what each feature means. */
const meanings = (...groups: object[]) => {
  const set = compile(...groups);
  return Object.fromEntries(set.names.map((name, column) => [name, describeFeature(set.sources[column]).meaning]));
};

describe('describeFeature', () => {
  it('says what every aggregate of the catalogue means', () => {
    const card = { entity: 'card', windows: ['24h'], aggregates: catalogue.map(({ example }) => example) };
    expect(meanings(card)).toEqual({
      'card.count.24h': "the number of the card's events in the last 24h",
      'card.sum.amount.24h': "the sum of `amount` over the card's events in the last 24h, in major units",
      'card.mean.amount.24h': "the mean of `amount` over the card's events in the last 24h, in major units",
      'card.min.amount.24h': "the least `amount` of the card's events in the last 24h, in major units",
      'card.max.amount.24h': "the greatest `amount` of the card's events in the last 24h, in major units",
      'card.stddev.amount.24h':
        "the standard deviation of `amount` over the card's events in the last 24h, in major units",
      'card.distinct.merchant.24h':
        "how many different values of `merchant` there are among the card's events in the last 24h",
      'card.top-share.merchant.24h':
        "the share of the card's events in the last 24h that have the most frequent value of `merchant`",
      'card.first.amount.24h':
        "the `amount` of the oldest of the card's events in the last 24h before the current one, in major units",
      'card.last.amount.24h':
        "the `amount` of the newest of the card's events in the last 24h before the current one, in major units",
      'card.time-since-first.24h':
        "the seconds since the oldest of the card's events in the last 24h before the current one",
      'card.time-since-last.24h':
        "the seconds since the newest of the card's events in the last 24h before the current one",
      'card.is-new.device.24h':
        "1 when none of the card's events in the last 24h before the current one has the current event's `device`, else 0",
      'card.same-count.amount.24h':
        "how many of the card's events in the last 24h before the current one have the current event's `amount`",
      'card.ratio.declined.approved.24h':
        "the number of the card's events in the last 24h that pass `declined`, over the number that pass `approved`",
      'card.sum-ratio.amount.declined.24h':
        "the share of the sum of `amount` over the card's events in the last 24h that is of those that pass `declined`",
      'card.burst.30d.24h':
        "the rate of the card's events in the last 24h, over the rate in a window of 30d that ends with it",
      'card.z-score.amount.24h':
        "how many standard deviations the current event's `amount` lies above the mean of the card's events in the last 24h before the current one",
      'card.speed.latitude.longitude.24h':
        "the speed in km/h from the place (`latitude`, `longitude`) of the newest of the card's events in the last 24h before the current one that has one to the current event's",
      'card.hour-deviation.24h':
        "how unusual the current event's time of day (UTC) is against that of the card's events in the last 24h before the current one, from 0 (the usual one) to 1",
      'card.streak.declined.24h':
        "how many of the newest of the card's events in the last 24h in a row pass `declined`",
    });
  });

  it('says which events count', () => {
    const count = { aggregates: ['count'] };
    expect(
      meanings(
        { entity: 'card', windows: ['7d', 'all'], where: 'approved', ...count },
        { entity: 'card', windows: ['7d', 'all'], current: 'exclude', ...count },
        { entity: 'card', windows: ['7d', 'all'], delay: '2d', ...count },
        { entity: 'card', windows: ['7d'], aggregates: ['ratio(declined)'] },
        { entity: 'terminal', windows: ['30d'], aggregates: ['ratio(chargeback)'], labels: 'at-transaction' },
      ),
    ).toEqual({
      'card.count.approved.7d': "the number of the card's `approved` events in the last 7d",
      'card.count.approved.all': "the number of the card's `approved` events",
      'card.count.7d.exclude-current': "the number of the card's events in the last 7d before the current one",
      'card.count.all.exclude-current': "the number of the card's events before the current one",
      'card.count.7d.delay-2d': "the number of the card's events in the 7d that ended 2d ago",
      'card.count.all.delay-2d': "the number of the card's events until 2d ago",
      'card.ratio.declined.7d': "the share of the card's events in the last 7d that pass `declined`",
      'terminal.ratio.chargeback.30d.at-transaction':
        "the share of the terminal's events in the last 30d that pass `chargeback`; labels count for the transactions that they are about",
    });
  });

  it('speaks of features without a window too, and gives window and cost of the others', () => {
    const set = compile(
      { event: ['amount', 'is-weekend', 'is-night'] },
      { name: 'share', expression: 'card.count.1h / card.count.7d' },
      { entity: 'card', windows: ['1h', '7d'], aggregates: ['count'] },
      { entity: 'card', windows: ['all'], delay: '1d', aggregates: ['distinct(device)'] },
    );
    expect(set.sources.map(describeFeature)).toEqual([
      { meaning: "the event's own `amount`, in major units", cost: 'constant' },
      { meaning: '1 when the event is on a Saturday or Sunday (UTC), else 0', cost: 'constant' },
      { meaning: '1 when the event is from 00:00 to 06:59 (UTC), else 0', cost: 'constant' },
      { meaning: 'card.count.1h / card.count.7d', cost: 'constant' },
      { meaning: "the number of the card's events in the last 1h", window: '1h', cost: 'constant' },
      { meaning: "the number of the card's events in the last 7d", window: '7d', cost: 'constant' },
      {
        meaning: "how many different values of `device` there are among the card's events until 1d ago",
        ...{ window: 'all', delay: '1d', cost: "a look at each of the window's events" },
      },
    ]);
  });
});

describe('docs/features.md', () => {
  const page = readFileSync('docs/features.md', 'utf8');

  it('shows groups that compile', () => {
    const { features } = parse(/```yaml\n([\s\S]*?)```/.exec(page)![1]) as { features: object[] };
    expect(compile(...features).names).toContain('card.decline_share.24h');
  });

  it('names features as they are named', () => {
    const { names } = compile({
      entity: 'card',
      windows: ['24h'],
      aggregates: catalogue.map(({ example }) => example),
    });
    const shown = [...page.matchAll(/^- name, of a card over 24h: `(.*)`$/gm)].map(([, name]) => name);
    expect(shown).toEqual(names);
    const [sum] = compile({ entity: 'card', windows: ['24h'], aggregates: ['sum(amount)'], where: 'approved' }).names;
    expect(page).toContain(`for example\n\`${sum}\``);
  });
});

describe('commonEventBytes', () => {
  it('is what a plan retains of an event, and below the most it may take', () => {
    const [card, terminal] = compile(
      {
        entity: 'card',
        windows: ['1h'],
        aggregates: ['sum(amount)', 'distinct(device)', 'speed(latitude, longitude)'],
      },
      { entity: 'terminal', windows: ['1h', '7d'], aggregates: ['count', 'ratio(fraud)', 'ratio(declined)'] },
    ).entities;
    expect(commonEventBytes(card)).toBe(4 + 3 + 6 + 8);
    expect(commonEventBytes(terminal)).toBe(4 + 2 / 8);
    for (const plan of [card, terminal]) expect(commonEventBytes(plan)).toBeLessThan(eventBytes(plan));
  });
});
