import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { stateConfig } from '../../features/state-config.ts';

const faults = (value: unknown) =>
  stateConfig.safeParse(value).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);

describe('stateConfig', () => {
  it('wants exactly one store', () => {
    const sentence = ': state needs exactly one of redis, embedded';
    expect(faults({})).toEqual([sentence]);
    expect(faults({ redis: {}, embedded: { path: 'x' } })).toEqual([sentence]);
    expect(faults({ redis: {} })).toBeUndefined();
    expect(faults({ embedded: { path: 'x' } })).toBeUndefined();
  });

  it('fills the defaults in', () => {
    expect(stateConfig.parse({ redis: {} })).toEqual({
      redis: {
        groups: 16,
        key_prefix: 'weir',
        connect_timeout_ms: 10_000,
        command_timeout_ms: 5_000,
      },
      flush_interval_ms: 1_000,
      refresh_ms: 100,
      when_away: 'pause',
      cache_entities: 200_000,
    });
  });

  it.each([
    [{ redis: { groups: 0 } }, /^redis.groups: /],
    [{ redis: { groups: 257 } }, /^redis.groups: /],
    [{ redis: { key_prefix: 'a{b}' } }, /^redis.key_prefix: letters/],
    [{ redis: { url: 'localhost' } }, /^redis.url: expected redis:/],
    [{ redis: { cluster: [] } }, /^redis.cluster: /],
    [{ redis: { cluster: ['one'] } }, /^redis.cluster.0: a node is host:port/],
    [{ redis: { url: 'redis://one', cluster: ['one:1'] } }, /^redis: redis takes a url or a cluster, not both/],
    [{ redis: { uri: 'redis://localhost' } }, /^redis: Unrecognized key/],
    [{ embedded: {} }, /^embedded.path: /],
  ])('refuses %j', (value, fault) => {
    expect(faults(value)).toEqual([expect.stringMatching(fault)]);
  });

  it('has a JSON schema that describes every key', () => {
    const schema = z.toJSONSchema(stateConfig, { io: 'input' });
    const undescribed = (node: z.core.JSONSchema.BaseSchema, path: string): string[] =>
      Object.entries(node.properties ?? {}).flatMap(([key, value]) => {
        const below = value as z.core.JSONSchema.BaseSchema;
        return [...(below.description ? [] : [`${path}${key}`]), ...undescribed(below, `${path}${key}.`)];
      });
    expect(undescribed(schema, '')).toEqual([]);
  });
});
