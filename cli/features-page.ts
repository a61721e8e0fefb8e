import type { Aggregate, ArgumentType } from '../features/aggregates/aggregate.ts';

const introduction = `# Features

A group of features is every aggregate over every window, of one entity:

\`\`\`yaml
features:
  - { event: [amount, is-weekend, is-night] }
  - { entity: card, windows: [1h, 24h, all], aggregates: [count, sum(amount), distinct(merchant)] }
  - { entity: card, windows: [24h], aggregates: [count, time-since-last], where: declined }
  - { entity: card, windows: [30d], aggregates: [mean(amount), stddev(amount)], current: exclude }
  - { entity: terminal, windows: [7d, 30d], delay: 7d, aggregates: [count, ratio(fraud)] }
  - { entity: terminal, windows: [90d], aggregates: [ratio(chargeback)], labels: at-transaction }
  - { name: card.decline_share.24h, expression: card.count.declined.24h / card.count.24h }
\`\`\`

\`weir features list --config FILE\` says what each feature of a config means, in words, and what it costs. This page is generated from the same
definition as the program (\`npm run schemas\`); [configuration.md](configuration.md) lists the keys.

## Names

\`{entity}.{aggregate}[.{argument}…][.{where}].{window}[.delay-{delay}][.exclude-current][.at-transaction]\`, for example
\`card.sum.amount.approved.24h\`. The name of an expression is its own. Rules and expressions use features by these names.

## Which events count

- **Window.** \`(t-w, t]\` by event time, w from 1s to 400d, for each event anew. \`all\` has no beginning: it is everything since the entity was last idle for
  \`idle\`. With a \`delay\` d it is \`(t-d-w, t-d]\`.
- **The current event** counts unless the group says \`current: exclude\`. Aggregates that are about what was before never count it; below
  they speak of events *before the current one*. Of other events at the same time those count that came before it in their partition's log.
- **\`where\`** names a filter or a flag field: only events that pass it count.
- **Fields** that are optional: of number fields only events that have a value count, for that feature. An event without a text has no value.
- **Labels.** With \`labels: at-transaction\` a later event that refers to a transaction changes it where that stands, and \`where\` and filters may name
  the label's kind: see [concepts.md](concepts.md#late-labels).

## What a value is worth

Every value is exact, the same for any split of the log over partitions, live and replayed, unless its state says otherwise:
[concepts.md](concepts.md#windows). *Without data* below is the value where the window has nothing to say, and whether it is marked \`absent\`.
Entities with more than \`exact_events\` events in their windows keep the older ones in panes; *by panes* below is what that does to the value
when the window's edge cuts one. It is marked \`approximate\` then, with bounds.

## Features of the event alone

\`{ event: [...] }\`: a number field; \`is-weekend\`, 1 on Saturdays and Sundays (UTC); \`is-night\`, 1 from 00:00 to 06:59 (UTC).

## Expressions

\`{ name: …, expression: … }\` is arithmetic over other features, written as in [rules](configuration.md#expressions). It is 0 and \`absent\` where the result is
no number, such as 0 / 0; else its state is that of the least exact feature that it reads.

`;

const argumentWords: Readonly<Record<ArgumentType, string>> = {
  number: 'a money or number field',
  text: 'a text field',
  value: 'a money, number or text field',
  filter: 'a filter or flag field',
  window: 'a duration, longer than the window',
};

/** docs/features.md. */
export function featuresPage(catalogue: readonly Aggregate[]): string {
  return `${introduction}${summary(catalogue)}\n${catalogue.map(section).join('\n')}`;
}

function summary(catalogue: readonly Aggregate[]): string {
  const rows = catalogue.map((aggregate) => {
    const { name, example, noData } = aggregate;
    return `| [\`${example}\`](#${name}) | ${meaningOf(aggregate, argumentsOf(example))} | ${noData} |\n`;
  });
  return `## Aggregates\n\n| Aggregate | Value | Without data |\n| --- | --- | --- |\n${rows.join('')}`;
}

function section(aggregate: Aggregate): string {
  const { name, example, notes, noData, exactness, retains, cost, optionalArguments = 0 } = aggregate;
  const args = argumentsOf(example);
  const shorter = args.slice(0, args.length - optionalArguments);
  const meanings = [`\`${example}\` is ${meaningOf(aggregate, args)}.`];
  if (optionalArguments > 0)
    meanings.unshift(`\`${name}(${shorter.join(', ')})\` is ${meaningOf(aggregate, shorter)}.`);
  if (notes !== undefined) meanings.push(notes);
  const facts = [
    ...args.map((argument, k) => `\`${argument}\`: ${argumentWords[aggregate.arguments[k]]}`),
    `without data: ${noData}`,
    `exactness: ${exactness}`,
    `retained of each event, beside its time: ${retains}`,
    `cost of an evaluation: ${cost}`,
    `name, of a card over 24h: \`${['card', name, ...args, '24h'].join('.')}\``,
  ];
  return `### ${name}\n\n${meanings.join(' ')}\n\n${facts.map((fact) => `- ${fact}\n`).join('')}`;
}

function meaningOf(aggregate: Aggregate, args: readonly string[]): string {
  const events =
    aggregate.excludesCurrent === true ? "the window's events before the current one" : "the window's events";
  return aggregate.meaning(
    events,
    ...args.map((argument, k) => (aggregate.arguments[k] === 'window' ? `a window of ${argument}` : `\`${argument}\``)),
  );
}

/** Those of "name(one, two)". */
function argumentsOf(example: string): string[] {
  return /\((.*)\)/.exec(example)?.[1].split(', ') ?? [];
}
