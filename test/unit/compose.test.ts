import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

// infra/compose-spec.schema.json is the schema of the Compose specification (github.com/compose-spec/compose-spec,
// Apache-2.0), unchanged as the PyPI package check-jsonschema 0.39.0 carries it.

interface Service {
  image?: string;
  build?: string;
  volumes?: string[];
  depends_on?: string[] | Record<string, unknown>;
}

interface Compose {
  services: Record<string, Service>;
}

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path: string) => readFileSync(fromRoot(path), 'utf8');

const compose = parse(read('docker-compose.yml')) as Compose;
const services = Object.entries(compose.services);
const ajv = new Ajv2020({ allErrors: true, strict: false });
addFormats.default(ajv);
const validate = ajv.compile(JSON.parse(read('infra/compose-spec.schema.json')));

describe('docker-compose.yml', () => {
  it('is valid by the Compose specification', () => {
    validate(compose);
    expect(validate.errors ?? []).toEqual([]);
  });

  it('would be found invalid with an unknown key', () => {
    expect(validate({ services: { weir: { image: 'weir', dependson: ['kafka'] } } })).toBe(false);
  });

  it('pins every image', () => {
    const pulled = services.filter(([, service]) => service.build === undefined);
    for (const [name, { image }] of pulled)
      expect({ name, image }).toEqual({ name, image: expect.stringMatching(/:v?\d/) });
  });

  it('mounts only files and folders that exist', () => {
    const mounts = services.flatMap(([, service]) => service.volumes ?? []).map((volume) => volume.split(':')[0]);
    const bound = mounts.filter((source) => source.startsWith('.'));
    expect(bound.length).toBeGreaterThan(0);
    expect(bound.filter((source) => !existsSync(fromRoot(source)))).toEqual([]);
  });

  it('names only its own services as dependencies', () => {
    const names = services.flatMap(([, { depends_on = [] }]) =>
      Array.isArray(depends_on) ? depends_on : Object.keys(depends_on),
    );
    expect(names.filter((name) => !(name in compose.services))).toEqual([]);
  });
});

describe('examples/kafka/weir.yaml, which compose runs', () => {
  it('computes the features that the demo model was trained on', () => {
    const demo = parse(read('examples/demo/weir.yaml'));
    const { event, filters, features, policy } = parse(read('examples/kafka/weir.yaml'));
    const { label: _, ...demoEvent } = demo.event;
    expect({ event, filters, features, policy }).toEqual({
      event: demoEvent,
      filters: demo.filters,
      features: demo.features,
      policy: demo.policy,
    });
  });
});
