import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { schemaFiles } from '../../cli/schema-files.ts';
import { deadLetterLine, deadLetterReasons } from '../../consumers/dead-letter-schema.ts';
import { featureStates } from '../../features/rows.ts';
import { cloudEvent } from '../../scoring/schemas.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = schemaFiles();
const withFormats = <T extends Ajv>(ajv: T): T => (addFormats as unknown as (ajv: T) => T)(ajv);

describe('the published schemas', () => {
  it.each(Object.keys(files))('%s is what `npm run schemas` writes', (path) => {
    expect(existsSync(join(root, path))).toBe(true);
    expect(readFileSync(join(root, path), 'utf8') === files[path] || 'run npm run schemas').toBe(true);
  });

  it('compile as JSON Schema 2020-12', () => {
    for (const name of ['risk-event', 'cloud-event', 'dead-letter']) {
      const schema = JSON.parse(files[`docs/schemas/${name}.schema.json`]);
      expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
      expect(() => withFormats(new Ajv2020({ strict: true })).compile(schema)).not.toThrow();
    }
  });

  it('let later versions add properties', () => {
    for (const name of ['risk-event', 'cloud-event', 'dead-letter'])
      expect(files[`docs/schemas/${name}.schema.json`]).not.toContain('"additionalProperties": false');
  });

  it('give an AsyncAPI 3 document', () => {
    const { schemasWithoutId } = createRequire(import.meta.url)('@asyncapi/specs');
    const document = JSON.parse(files['docs/schemas/asyncapi.json']);
    const validate = withFormats(new Ajv({ strict: false })).compile(schemasWithoutId['3.0.0']);
    expect(validate(document) || validate.errors).toBe(true);
    expect(validate({ ...document, channel: {} })).toBe(false);
    const unresolved = [...files['docs/schemas/asyncapi.json'].matchAll(/"\$ref": "#\/([^"]+)"/g)].filter(
      ([, pointer]) => pointer.split('/').reduce((value, key) => value?.[key], document) === undefined,
    );
    expect(unresolved).toEqual([]);
  });
});

describe('docs/contract.md', () => {
  const page = readFileSync(join(root, 'docs/contract.md'), 'utf8');
  const examples = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map(([, text]) => JSON.parse(text));

  it('shows a risk event and a dead letter that are as defined', () => {
    expect(cloudEvent.safeParse(examples[0]).error?.issues).toBeUndefined();
    expect(deadLetterLine.safeParse(examples[1]).error?.issues).toBeUndefined();
  });

  it('names every property of a risk event, every feature state and every reason of a dead letter', () => {
    const { properties } = JSON.parse(files['docs/schemas/risk-event.schema.json']);
    const names = [...Object.keys(properties), ...Object.keys(deadLetterReasons), ...featureStates.slice(1)];
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });
});
