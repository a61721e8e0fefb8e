import { createRequire } from 'node:module';
import { describe, expect, it } from '@jest/globals';

const require = createRequire(import.meta.url);

describe('the Kafka client', () => {
  it('is the version whose inner parts consumers/kafka/internals.ts names', () => {
    expect(require('kafkajs/package.json').version).toBe('2.2.4');
  });
});
