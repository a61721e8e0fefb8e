import type { Metrics, PartitionMetrics } from '../runtime/metrics.ts';

/** Counts what the run is judged by, and nothing else. */
export interface SimulatedMetrics extends Metrics {
  /** Whether a partition is scored without the store. */
  isDegraded(): boolean;
  /** Entities in memory. */
  entities(): number;
}

/** @param lost by partition: how many records were lost; it is added to. */
export function createSimulatedMetrics(lost: Map<number, number>): SimulatedMetrics {
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
  let degraded = 0;
  let entities = () => 0;
  return {
    partition: (_, number) => ({
      ...partition,
      lostRecords: (records) => void lost.set(number, (lost.get(number) ?? 0) + records),
    }),
    behindLatest: none,
    kinesisThrottled: () => none,
    displaced: none,
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
    degradedPartitions(change) {
      degraded += change;
    },
    degraded: none,
    cacheLookups: none,
    damaged: none,
    watchEntities(count) {
      entities = count;
    },
    redis: none,
    ready: none,
    text: async () => '',
    contentType: '',
    isDegraded: () => degraded > 0,
    entities: () => entities(),
  };
}
