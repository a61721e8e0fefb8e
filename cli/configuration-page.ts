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

Filters and rules are expressions: \`and\`, \`or\`, \`not\`, \`==\`, \`!=\`, \`<\`, \`<=\`, \`>\`, \`>=\`, \`in\`, \`+ - * / ^ mod\`, \`abs ceil floor log log2 log10 max min round sqrt\`,
texts in double quotes. Filters see the event's fields and \`kind\`; rules see \`probability\`, every feature by its name, the fields and \`kind\`.
A comparison with a missing value is false.

`;

/** docs/configuration.md. */
export function configurationPage(schema: z.ZodType): string {
  return `${introduction}${referenceTables(schema)}`;
}
