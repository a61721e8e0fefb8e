import type { z } from 'zod';
import { referenceTables } from '../runtime/config/reference.ts';

const introduction = `# Configuration

A job is one YAML file. \`weir check --config FILE\` names every fault with its line; unknown keys are faults. Editors complete and
check it by [schemas/weir-config.schema.json](schemas/weir-config.schema.json); with the YAML language server, put this on the
first line: \`# yaml-language-server: $schema=<path to the schema>\`. This page is generated from the same definition
(\`npm run schemas\`).

- \`\${NAME}\` in any value is the environment variable NAME, \`\${NAME:-default}\` has a default, \`$\${\` is a literal \`\${\`. In a flow list or map
  (\`[…]\`, \`{…}\`) such a value stands in double quotes.
- \`--set key.path=value\` overrides any key; the value is YAML (\`--set source.kafka.brokers='["a:9092", "b:9092"]'\`), list items are
  numbered (\`--set features.0.windows=[1h]\`), and \`null\` removes the key.
- Relative file paths start from the config file's folder; those from the environment or \`--set\`, from where the command runs.
- Durations are a number and \`s\`, \`m\`, \`h\` or \`d\`. Keys that end in \`_ms\` are milliseconds, in \`_bytes\` bytes.

## Features

A group of features is every aggregate over every window. The name of each is
\`{entity}.{aggregate}[.{field}][.{where}].{window}[.delay-{delay}][.exclude-current]\`, for example \`card.sum.amount.approved.24h\` for
\`{ entity: card, windows: [24h], aggregates: [sum(amount)], where: approved }\`.

| Aggregate | Answer | Without data |
| --- | --- | --- |
| \`count\` | events in the window | 0 |
| \`sum(field)\` | sum, in major units | 0 |
| \`mean(field)\`, \`min(field)\`, \`max(field)\`, \`stddev(field)\` | of the values; stddev is the population's | 0, \`absent\` |
| \`ratio(filter)\` | share of the events that pass the filter; a flag field is a filter | 0, \`absent\` |
| \`time-since-last\` | seconds since the entity's last event before this one | the window's width, \`absent\` |
| \`is-new(field)\` | 1 when the entity has not had this value within the window before | 0, \`absent\`, when the event has no value |

\`{ event: [...] }\` are features of the event alone: a number field, \`is-weekend\` and \`is-night\` (UTC, 00:00 to 06:59).

## Expressions

Filters and rules are expressions: \`and\`, \`or\`, \`not\`, \`==\`, \`!=\`, \`<\`, \`<=\`, \`>\`, \`>=\`, \`in\`, \`+ - * / ^ mod\`, \`abs ceil floor log log2 log10 max min round sqrt\`,
texts in double quotes. Filters see the event's fields and \`kind\`; rules see \`probability\`, every feature by its name, the fields and \`kind\`.
A comparison with a missing value is false.

`;

/** docs/configuration.md. */
export function configurationPage(schema: z.ZodType): string {
  return `${introduction}${referenceTables(schema)}`;
}
