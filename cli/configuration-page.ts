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

[features.md](features.md) says what every aggregate means, how features are named and which events count.

## Expressions

Filters and rules are expressions, true or not. From what binds least to what binds most: \`or\`; \`and\`; \`not\`; \`== != < <= > >=\` and
\`in (a, b)\`, \`not in (a, b)\`; \`+ -\`; \`* / mod\`; \`^\`. There are \`abs ceil floor log log2 log10 max min round sqrt\`, and texts in double quotes.
Filters see the event's fields and \`kind\`; rules see \`probability\`, every feature by its name, the fields and \`kind\`. A flag field is a
condition by itself: \`foreign and not online\`. What could never be true, such as a text compared with a number, is a fault.

A comparison with a missing value is unknown, whatever the operator, and so is its \`not\`: where an event has no \`tip\`, neither \`tip > 5\` nor
\`tip != 5\` nor \`not (tip > 5)\` is true. \`or\` is true when one side is, \`and\` false when one side is, whatever the other. \`exists(tip)\` asks
whether there is a value: \`not exists(tip) or tip < 5\`.

`;

/** docs/configuration.md. */
export function configurationPage(schema: z.ZodType): string {
  return `${introduction}${referenceTables(schema)}`;
}
