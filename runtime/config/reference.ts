import { z } from 'zod';

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** `${NAME}` or `${NAME:-default}` may stand for any value. */
const variable = { type: 'string', pattern: '\\$\\{[A-Za-z_]' } as const;

/** The JSON Schema that editors complete and check a config file with. */
export function editorSchema(schema: z.ZodType, title: string): object {
  const converted = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override({ jsonSchema }) {
      if (jsonSchema.type !== 'number' && jsonSchema.type !== 'integer' && jsonSchema.type !== 'boolean') return;
      const { description, default: preset, ...typed } = { ...jsonSchema };
      for (const key of Object.keys(jsonSchema)) delete (jsonSchema as Record<string, unknown>)[key];
      Object.assign(jsonSchema, { description, default: preset, anyOf: [typed, variable] });
    },
  });
  return { ...converted, title };
}

interface Row {
  readonly key: string;
  readonly type: string;
  readonly preset: string;
  readonly description: string;
}

/** Every key of a config as Markdown, a table for each top-level section. */
export function referenceTables(schema: z.ZodType): string {
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  const required = new Set(root.required);
  return Object.entries(root.properties ?? {})
    .map(([name, section]) => {
      const rows = rowsOf(name, section as JsonSchema, required.has(name));
      const [own, ...inner] = rows;
      const lines = inner.length === 0 ? rows : inner;
      const table = lines.map(
        ({ key, type, preset, description }) => `| \`${key}\` | ${type} | ${preset} | ${description} |`,
      );
      return `## ${name}\n\n${own.description}.\n\n| Key | Value | Default | |\n| --- | --- | --- | --- |\n${table.join('\n')}\n`;
    })
    .join('\n');
}

function rowsOf(key: string, schema: JsonSchema, isRequired: boolean): Row[] {
  const own: Row = {
    key,
    type: typeOf(schema),
    preset: schema.default === undefined ? (isRequired ? 'required' : '') : `\`${JSON.stringify(schema.default)}\``,
    description: cell(schema.description ?? ''),
  };
  return [own, ...branchesOf(schema).flatMap((branch) => innerRows(key, branch))];
}

function innerRows(key: string, { properties, additionalProperties, items, required }: JsonSchema): Row[] {
  const rows: Row[] = [];
  for (const [name, inner] of Object.entries(properties ?? {}))
    rows.push(...rowsOf(`${key}.${name}`, inner as JsonSchema, required?.includes(name) === true));
  if (typeof additionalProperties === 'object')
    rows.push(...below(`${key}.<name>`, additionalProperties as JsonSchema));
  if (typeof items === 'object' && !Array.isArray(items)) rows.push(...below(`${key}[]`, items as JsonSchema));
  return rows;
}

/** What a list or map holds needs a row of its own only where it says something. */
function below(key: string, schema: JsonSchema): Row[] {
  const [own, ...inner] = rowsOf(key, schema, false);
  return own.description === '' ? inner : [own, ...inner];
}

function branchesOf(schema: JsonSchema): JsonSchema[] {
  const alternatives = (schema.anyOf ?? schema.oneOf ?? []) as JsonSchema[];
  return alternatives.length > 0 ? alternatives : [schema];
}

function typeOf(schema: JsonSchema): string {
  const alternatives = (schema.anyOf ?? schema.oneOf ?? []) as JsonSchema[];
  if (alternatives.length > 0) return [...new Set(alternatives.map(typeOf))].join(' or ');
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.type === 'array') return 'list';
  if (schema.type === 'object') return 'map';
  if (schema.type === 'string') return schema.format === 'path' ? 'file path' : 'text';
  const range = [schema.minimum, schema.maximum].map((bound) =>
    Math.abs(bound ?? 2 ** 53) >= 2 ** 52 ? '' : String(bound),
  );
  const name = schema.type === 'integer' ? 'whole number' : String(schema.type);
  if (range[0] !== '' && range[1] !== '') return `${name}, ${range[0]} to ${range[1]}`;
  return range[0] === '' ? name : `${name}, at least ${range[0]}`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
