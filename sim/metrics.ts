import type { Metrics, PartitionMetrics } from '../runtime/metrics.ts';

/** Counts nothing, but tells how many entities are in memory. */
export interface SimulatedMetrics extends Metrics {
  entities(): number;
}

export function createSimulatedMetrics(): SimulatedMetrics {
  const none = () => {};
  const partition: PartitionMetrics = {
    consumed: none,
    published: none,
    lag: none,
    fenceLag: none,
    skew: none,
    held: none,
    lostRecords: none,
    shortHistory: none,
    lost: none,
  };
  let count = () => 0;
  return {
    partition: () => partition,
    behindLatest: none,
    kinesisThrottled: () => none,
    awsRequest: none,
    leases: none,
    leaseChanged: none,
    joinedGeneration: none,
    stage: none,
    batch: none,
    decided: none,
    deadLetter: none,
    late: none,
    repeated: none,
    recovered: none,
    eventToPublished: none,
    ownedPartitions: none,
    degradedPartitions: none,
    degraded: none,
    cacheLookups: none,
    damaged: none,
    watchEntities(of) {
      count = of;
    },
    redis: none,
    ready: none,
    text: async () => '',
    contentType: '',
    entities: () => count(),
  };
}
