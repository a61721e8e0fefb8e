import { jobConfig } from '../consumers/config.ts';
import { deadLetterHeaders, deadLetterLine, replayMarkHeaders } from '../consumers/dead-letter-schema.ts';
import { catalogue } from '../features/aggregates/catalogue.ts';
import { editorSchema } from '../runtime/config/reference.ts';
import { riskEvent } from '../scoring/risk-event.ts';
import { asyncApi, cloudEvent, publishedSchema } from '../scoring/schemas.ts';
import { configurationPage } from './configuration-page.ts';
import { featuresPage } from './features-page.ts';

/** The generated documents, by path below the project's root. */
export function schemaFiles(): Readonly<Record<string, string>> {
  const documents = {
    'docs/schemas/risk-event.schema.json': publishedSchema(riskEvent),
    'docs/schemas/cloud-event.schema.json': publishedSchema(cloudEvent),
    'docs/schemas/dead-letter.schema.json': publishedSchema(deadLetterLine),
    'docs/schemas/weir-config.schema.json': editorSchema(jobConfig, 'Config of a weir job'),
    'docs/schemas/asyncapi.json': asyncApi({
      headers: deadLetterHeaders,
      description: 'An input record that could not be scored: original key and value, and why and whence as headers',
      marks: {
        headers: replayMarkHeaders,
        description: 'A dead letter of the same topic was put back into its topic, where it is read again',
      },
    }),
  };
  const schemas = Object.entries(documents).map(([path, document]) => [path, `${JSON.stringify(document, null, 2)}\n`]);
  return {
    ...Object.fromEntries(schemas),
    'docs/configuration.md': configurationPage(jobConfig),
    'docs/features.md': featuresPage(catalogue),
  };
}
