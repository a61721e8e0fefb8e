import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Everything that a process counts; docs/operations.md lists the names with their meaning. Times are seconds. */
export interface Metrics {
  partition(stream: string, partition: number): PartitionMetrics;
  /** How far a shard's reader is behind its newest record. */
  behindLatest(stream: string, partition: number, seconds: number): void;
  /** Counts what Kinesis refused for too much throughput: requests to read, records to put. */
  kinesisThrottled(operation: 'get' | 'put'): (count: number) => void;
  /** Somebody else took a fan-out subscription of the stream, or has it. */
  displaced(stream: string): void;
  /** One request to an AWS service, each try of it. */
  awsRequest(service: string, operation: string, outcome: string): void;
  /** A stream's shards by state and leases by owner, as of a look at the lease table. */
  leases(stream: string, shards: Readonly<Record<string, number>>, byOwner: Readonly<Record<string, number>>): void;
  /** A lease that this process has taken or does not have any more. */
  leaseChanged(stream: string, change: string): void;
  /** The process is a member of the consumer group's generation from now on. */
  joinedGeneration(generation: number): void;
  stage(name: string, seconds: number): void;
  /** A published batch: events scored, and from read to published. */
  batch(events: number, seconds: number): void;
  decided(names: readonly string[], counts: readonly number[]): void;
  deadLetter(reason: string): void;
  late(events: number): void;
  repeated(events: number): void;
  recovered(events: number): void;
  /** From the broker's timestamp to published. */
  eventToPublished(seconds: number): void;
  ownedPartitions(change: number): void;
  /** Partitions that are scored without the state store, and the events of them. */
  degradedPartitions(change: number): void;
  degraded(events: number): void;
  cacheLookups(hits: number, misses: number): void;
  damaged(): void;
  /** How many entities are in memory, asked at each scrape. */
  watchEntities(count: () => number): void;
  /** One round trip to Redis. */
  redis(operation: string, bytesOut: number, bytesIn: number, commands: number): void;
  ready(isReady: boolean): void;
  /** Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

export interface PartitionMetrics {
  consumed(records: number): void;
  published(events: number): void;
  /** Records behind the log's end. */
  lag(records: number): void;
  /** Records published whose state is not stored yet. */
  fenceLag(records: number): void;
  /** Seconds of event time ahead of the slowest partition that it waits for. */
  skew(seconds: number): void;
  /** Seconds that it has waited for slower partitions. */
  held(seconds: number): void;
  /**
   * Records that were deleted at the broker before they were read.
   * @param noticedAt wall clock, ms.
   */
  lostRecords(records: number, noticedAt: number): void;
  /**
   * Events with a feature that is incomplete because history is known only since some time.
   * @param from since when that of the partition is, milliseconds since the epoch; -Infinity: for ever.
   */
  shortHistory(events: number, from: number): void;
  /** The partition is not this process's any more: its gauges are. */
  lost(): void;
}

const secondsBuckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
const stageBuckets = [0.0001, 0.0002, 0.0005, ...secondsBuckets.slice(0, 11)];
const eventBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const of = ['stream', 'partition'];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], labelNames: readonly L[] = []) =>
    new Histogram({ name, help, buckets, labelNames, registers });

  const consumed = counter('weir_consumed_total', 'Records read, valid or not', of);
  const published = counter('weir_published_total', 'Risk events published', of);
  const scored = counter('weir_scored_total', 'Transactions scored');
  const decisions = counter('weir_decisions_total', 'Transactions by decision', ['decision']);
  const deadLetters = counter('weir_dead_letters_total', 'Records that could not be scored', ['reason']);
  const late = counter('weir_late_events_total', 'Events scored but too old to be applied to the state');
  const repeated = counter('weir_repeated_events_total', 'Events that repeat an earlier one: counted and left out');
  const recovered = counter('weir_recovered_events_total', 'Events re-applied to the state without publishing');
  const lag = gauge('weir_lag_records', "Records between the position and the log's end", of);
  const behind = gauge('weir_behind_latest_seconds', "How far a shard's reader is behind its newest record", of);
  const throttled = counter(
    'weir_kinesis_throttled_total',
    'Reads (get) and records (put) that Kinesis refused for too much throughput',
    ['operation'],
  );
  const displaced = counter(
    'weir_fan_out_displaced_total',
    'Fan-out subscriptions that somebody else with the same consumer took, or had',
    ['stream'],
  );
  const requests = counter('weir_aws_requests_total', 'Requests to Kinesis and DynamoDB, each try of them', [
    'service',
    'operation',
    'outcome',
  ]);
  const shards = gauge('weir_kinesis_shards', 'Shards by state, as this process sees them', ['stream', 'state']);
  const leases = gauge('weir_kinesis_leases', 'Leases by who has them, as this process sees them', ['stream', 'owner']);
  const leaseChanges = counter('weir_kinesis_lease_changes_total', 'Leases that this process took, gave up or lost', [
    'stream',
    'change',
  ]);
  const generation = gauge('weir_group_generation', "The consumer group's generation that this process is in");
  const fenceLag = gauge('weir_fence_lag_records', 'Records published whose state is not stored yet', of);
  const skew = gauge(
    'weir_event_time_skew_seconds',
    'Event time ahead of the slowest partition that is waited for',
    of,
  );
  const held = counter(
    'weir_held_seconds_total',
    'Time spent waiting for partitions that are behind in event time',
    of,
  );
  const lostRecords = counter('weir_lost_records_total', 'Records that the broker deleted before they were read', of);
  const lastLoss = gauge(
    'weir_last_loss_timestamp_seconds',
    'When it was last noticed that the broker had deleted records before they were read',
    of,
  );
  const shortEvents = counter(
    'weir_short_history_events_total',
    'Events with a feature that is incomplete because the log does not reach back far enough',
    of,
  );
  const historyFrom = gauge(
    'weir_history_from_timestamp_seconds',
    'Event time since when all history of the partition is known, where that is not for ever',
    of,
  );
  const owned = gauge('weir_owned_partitions', 'Partitions that this process reads');
  const degradedPartitions = gauge('weir_degraded_partitions', 'Partitions that are scored without the state store');
  const degraded = counter('weir_degraded_events_total', 'Transactions scored while the state store was out of reach');
  const isReady = gauge('weir_ready', '1 when /readyz answers 200');
  const stages = histogram('weir_stage_seconds', 'Duration of a stage of a batch', stageBuckets, ['stage']);
  const batchEvents = histogram('weir_batch_events', 'Transactions of a batch', eventBuckets);
  const batchSeconds = histogram('weir_batch_seconds', 'From the read of a batch to published', secondsBuckets);
  const eventSeconds = histogram(
    'weir_event_to_published_seconds',
    "From a record's broker timestamp to its published risk event",
    secondsBuckets,
  );
  const cacheHits = counter('weir_state_cache_hits_total', 'Entity look-ups answered from memory');
  const cacheMisses = counter('weir_state_cache_misses_total', 'Entity look-ups that went to the state store');
  const damaged = counter('weir_state_damaged_total', 'Stored sub-states that could not be read and were discarded');
  const roundTrips = counter('weir_redis_round_trips_total', 'Waits for Redis: commands sent together count once');
  const operations = counter('weir_redis_operations_total', 'Script calls and commands', ['operation']);
  const redisBytes = counter('weir_redis_bytes_total', 'Payload bytes to and from Redis', ['direction']);
  let entities = () => 0;
  new Gauge({
    name: 'weir_state_entities',
    help: 'Entities in memory',
    registers,
    collect() {
      this.set(entities());
    },
  });

  return {
    partition(stream, partition) {
      const labels = { stream, partition: String(partition) };
      const at = {
        consumed: consumed.labels(labels),
        published: published.labels(labels),
        lag: lag.labels(labels),
        fenceLag: fenceLag.labels(labels),
        lostRecords: lostRecords.labels(labels),
        shortEvents: shortEvents.labels(labels),
        skew: skew.labels(labels),
        held: held.labels(labels),
      };
      // A rate needs a beginning: alerts compare it with 0 also where nothing was consumed yet.
      at.consumed.inc(0);
      at.published.inc(0);
      at.lostRecords.inc(0);
      at.shortEvents.inc(0);
      return {
        consumed: (records) => at.consumed.inc(records),
        published: (events) => at.published.inc(events),
        lag: (records) => at.lag.set(records),
        fenceLag: (records) => at.fenceLag.set(records),
        skew: (seconds) => at.skew.set(seconds),
        held: (seconds) => at.held.inc(seconds),
        lostRecords(records, noticedAt) {
          at.lostRecords.inc(records);
          lastLoss.set(labels, noticedAt / 1000);
        },
        shortHistory(events, from) {
          at.shortEvents.inc(events);
          if (Number.isFinite(from)) historyFrom.set(labels, from / 1000);
        },
        lost() {
          historyFrom.remove(labels);
          lag.remove(labels);
          behind.remove(labels);
          fenceLag.remove(labels);
          skew.remove(labels);
        },
      };
    },
    behindLatest: (stream, partition, seconds) => behind.labels(stream, String(partition)).set(seconds),
    kinesisThrottled: (operation) => (count) => throttled.labels(operation).inc(count),
    displaced: (stream) => displaced.labels(stream).inc(),
    awsRequest: (service, operation, outcome) => requests.labels(service, operation, outcome).inc(),
    leases(stream, byState, byOwner) {
      for (const [state, count] of Object.entries(byState)) shards.labels(stream, state).set(count);
      for (const [owner, count] of Object.entries(byOwner)) leases.labels(stream, owner).set(count);
      // An alert asks for its increase. The shard's state is there for a moment only: what is gone is given up by the look that finds it.
      leaseChanges.labels(stream, 'gone').inc(0);
    },
    leaseChanged: (stream, change) => leaseChanges.labels(stream, change).inc(),
    joinedGeneration: (joined) => generation.set(joined),
    stage: (name, seconds) => stages.labels(name).observe(seconds),
    batch(events, seconds) {
      scored.inc(events);
      batchEvents.observe(events);
      batchSeconds.observe(seconds);
    },
    decided(names, counts) {
      for (let k = 0; k < names.length; k++) if (counts[k] > 0) decisions.labels(names[k]).inc(counts[k]);
    },
    deadLetter: (reason) => deadLetters.labels(reason).inc(),
    late: (events) => late.inc(events),
    repeated: (events) => repeated.inc(events),
    recovered: (events) => recovered.inc(events),
    eventToPublished: (seconds) => eventSeconds.observe(seconds),
    ownedPartitions: (change) => owned.inc(change),
    degradedPartitions: (change) => degradedPartitions.inc(change),
    degraded: (events) => degraded.inc(events),
    cacheLookups(hits, misses) {
      cacheHits.inc(hits);
      cacheMisses.inc(misses);
    },
    damaged: () => damaged.inc(),
    watchEntities(count) {
      entities = count;
    },
    redis(operation, bytesOut, bytesIn, commands) {
      roundTrips.inc();
      operations.labels(operation).inc(commands);
      redisBytes.labels('out').inc(bytesOut);
      redisBytes.labels('in').inc(bytesIn);
    },
    ready: (ready) => isReady.set(ready ? 1 : 0),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
