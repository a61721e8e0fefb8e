import { expect, it } from '@jest/globals';
import type { Kafka } from 'kafkajs';
import { kafkaSourceConfig } from '../../consumers/kafka/config.ts';
import { sourceOver } from '../../consumers/kafka/source.ts';
import { systemClock } from '../../runtime/clock.ts';
import { firstOwnership } from '../contract/source.ts';

it('counts the partitions that others were given when it cannot ask how many the topic has', async () => {
  let isAway = false;
  const admin = {
    connect: async () => {},
    disconnect: async () => {},
    fetchOffsets: async () => [{ partitions: [] }],
    async fetchTopicMetadata() {
      if (isAway) throw new Error('away');
      return { topics: [{ partitions: [{ partitionId: 0 }] }] };
    },
    describeConfigs: async () => ({ resources: [] }),
  };
  const source = sourceOver(
    {
      client: { admin: () => admin } as unknown as Kafka,
      join(told) {
        isAway = true;
        queueMicrotask(() => told.assigned({ memberId: 'm', generation: 1, partitions: [0] }, 3));
        return { ended: new Promise(() => {}), commit: async () => {}, leave: async () => {} };
      },
      fetch: () => ({ add() {}, remove() {}, wake() {}, close: async () => {} }),
    },
    kafkaSourceConfig.parse({ brokers: ['b:1'], topic: 't', group: 'g', connect_timeout_ms: 100 }),
    { maxEvents: 1, format: { type: 'json' }, clock: systemClock },
  );
  const { partitions } = await firstOwnership(source, new AbortController().signal);
  expect(partitions).toBe(3);
});
