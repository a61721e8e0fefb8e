import { createEmbeddedReader } from '../features/embedded/reader.ts';
import { createEmbeddedRewinder } from '../features/embedded/rewinder.ts';
import { createEmbeddedStore } from '../features/embedded/store.ts';
import { createFeatureEngine, type FeatureEngine } from '../features/engine.ts';
import { frontierType } from '../features/frontier.ts';
import { historyType } from '../features/history.ts';
import type { EntityPlan, FeatureSet } from '../features/plan.ts';
import { createRedisReader } from '../features/redis/reader.ts';
import { createRedisRewinder } from '../features/redis/rewinder.ts';
import { createRedisSignal } from '../features/redis/signal.ts';
import { createRedisStore } from '../features/redis/store.ts';
import type { Rewinder } from '../features/rewinder.ts';
import type { StateStore } from '../features/store.ts';
import type { StoreReader } from '../features/store-reader.ts';
import type { Clock } from '../runtime/clock.ts';
import { describeError, type WeirError } from '../runtime/errors.ts';
import type { Readiness } from '../runtime/http.ts';
import type { Logger } from '../runtime/log.ts';
import type { Metrics } from '../runtime/metrics.ts';
import { createOnnxModel } from '../scoring/onnx/model.ts';
import { createRulesOnlyModel } from '../scoring/rules-only.ts';
import { createScorer, type Scorer } from '../scoring/scorer.ts';
import { toleranceMs } from './alignment.ts';
import type { CompiledJob } from './compile.ts';
import { deliveryOf, type JobConfig } from './config.ts';
import { createFileSink } from './file/sink.ts';
import { createFileSource } from './file/source.ts';
import { sinkConnection } from './kafka/config.ts';
import { createKafkaSink } from './kafka/sink.ts';
import { createKafkaSource } from './kafka/source.ts';
import { fanOutConsumerName, leaseTableName, sinkRegion } from './kinesis/config.ts';
import type { RecordFormat, Sink, Source } from './ports.ts';

/** What every component may use. */
export interface Surroundings {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
}

/** @throws WeirError MODEL when the model cannot be loaded or was made for other features. */
export async function openScorer({ config, set, policy }: CompiledJob, { clock }: Surroundings): Promise<Scorer> {
  const { event, model, source } = config;
  const loaded = model.rules_only ? createRulesOnlyModel() : await createOnnxModel(model, set);
  const tokenised = Object.keys(event.entities).filter((name) => event.entities[name].tokenise);
  return createScorer({
    model: loaded,
    set,
    policy,
    clock,
    mode: source.file ? 'replay' : 'live',
    tokenise:
      tokenised.length === 0 ? undefined : { secret: event.token_key!, entities: tokenised, keyEntity: event.key },
  });
}

/** @throws WeirError STORE when the store cannot be reached or is set up unsafely. */
export function openStore(
  { config, set }: CompiledJob,
  { clock, log, metrics, readiness }: Surroundings,
): Promise<StateStore> {
  const { job, state } = config;
  const options = { job, recipe: set.recipe, clock, retentionMs: retentionOf(set) };
  if (state.embedded) return createEmbeddedStore(state.embedded, options);
  return createRedisStore(state.redis!, {
    ...options,
    onTrouble(error) {
      const reason = error === undefined ? undefined : describeError(error);
      if (state.when_away === 'degrade') readiness.setDegraded('redis', reason);
      else readiness.setReady('redis', reason === undefined, reason ?? '');
    },
    onWarning: (sentence) => log.warn({}, sentence),
    onCommand: ({ operation, bytesOut, bytesIn, commands }) => metrics.redis(operation, bytesOut, bytesIn, commands),
  });
}

/**
 * Reads what openStore() keeps, also while another process keeps it.
 * @throws WeirError STORE when the store cannot be reached or there is none yet.
 */
export function openStoreReader({ config, set }: CompiledJob, { clock }: Surroundings): Promise<StoreReader> {
  const { job, state } = config;
  const options = { job, recipe: set.recipe, clock };
  return state.embedded ? createEmbeddedReader(state.embedded, options) : createRedisReader(state.redis!, options);
}

/**
 * Takes back what openStore() keeps, while nobody else has it.
 * @throws WeirError STORE when the store cannot be reached, or a process has it.
 */
export function openRewinder({ config, set }: CompiledJob, { clock }: Surroundings): Promise<Rewinder> {
  const { job, state } = config;
  const options = { job, recipe: set.recipe, clock };
  return state.embedded ? createEmbeddedRewinder(state.embedded, options) : createRedisRewinder(state.redis!, options);
}

/** The engine of one process over its store. */
export function openEngine({ config, set }: CompiledJob, store: StateStore, surroundings: Surroundings): FeatureEngine {
  const { clock, log, metrics } = surroundings;
  return createFeatureEngine({
    set,
    store,
    clock,
    cacheEntities: config.state.cache_entities,
    refreshMs: config.state.refresh_ms,
    toleranceMs: toleranceMs(config.alignment),
    keyEntity: config.event.key,
    onLookups: (hits, misses) => metrics.cacheLookups(hits, misses),
    onDamaged(error) {
      metrics.damaged();
      log.error({ error: describeError(error) }, 'a damaged state was discarded; its partition re-applies its log');
    },
  });
}

/** How long each entity type's state is of use after its last event, milliseconds. */
function retentionOf(set: FeatureSet): (type: string) => number {
  const byType = new Map(plansOf(set).map(({ type, ...plan }) => [type, lifetimeMs(plan)]));
  byType.set(historyType, Math.max(0, ...byType.values()));
  byType.set(frontierType, 0);
  return (type) => byType.get(type)!;
}

function plansOf({ entities, repeats }: FeatureSet): readonly EntityPlan[] {
  return repeats === undefined ? entities : [...entities, repeats];
}

function lifetimeMs({ retentionMs, idleMs }: Pick<EntityPlan, 'retentionMs' | 'idleMs'>): number {
  return Number.isFinite(idleMs) ? idleMs : retentionMs;
}

/** @throws WeirError BROKER or OUTPUT when the brokers cannot be reached or a topic is missing. */
export async function openSink({ config }: CompiledJob, surroundings: Surroundings): Promise<Sink> {
  const { job, source, sink } = config;
  const { clock, log, metrics } = surroundings;
  if (sink.file) return createFileSink(sink.file, { job });
  if (sink.kinesis) {
    // Loaded where it is used: the SDK takes a fifth of a second.
    const { createKinesisSink } = await import('./kinesis/sink.ts');
    const connection = sinkRegion(sink.kinesis, source.kinesis);
    const kinesis = createKinesisSink(sink.kinesis, {
      connection,
      job,
      clock,
      onThrottled: metrics.kinesisThrottled('put'),
      onRequest: metrics.awsRequest,
    });
    await kinesis.connect();
    return kinesis;
  }
  const kafka = createKafkaSink(sink.kafka!, {
    connection: sinkConnection(sink.kafka!, source.kafka)!,
    job,
    group: source.kafka?.group ?? job,
    delivery: deliveryOf(config),
    sourceIsKafka: source.kafka !== undefined,
    clock,
    log,
  });
  await kafka.connect();
  return kafka;
}

/** Ready once its records can be read: a file at once, a topic when the consumer group is joined. */
export async function openSource(
  { config }: Pick<CompiledJob, 'config'>,
  { clock, log, metrics, readiness }: Surroundings,
): Promise<Source> {
  const { job, source, event, batch, state } = config;
  const maxEvents = batch.max_events;
  if (source.file) {
    const file = createFileSource(source.file, { maxEvents, maxRecordBytes: event.max_bytes });
    readiness.setReady('source', true, '');
    return file;
  }
  const format = formatOf(event);
  const onTrouble = (error: WeirError | undefined) =>
    readiness.setReady('source', error === undefined, error ? describeError(error) : '');
  if (source.kafka) {
    const onJoined = metrics.joinedGeneration;
    return createKafkaSource(source.kafka, { maxEvents, format, clock, log, onJoined, onTrouble });
  }
  const stream = source.kinesis!.stream;
  const { createKinesisSource } = await import('./kinesis/source.ts');
  const subject = `leases:${leaseTableName(source.kinesis!)}`;
  const signal = state.redis && (await createRedisSignal(state.redis, { job, subject, clock }));
  const consumer = fanOutConsumerName(source.kinesis!);
  let isToldOfRival = false;
  return createKinesisSource(source.kinesis!, {
    maxEvents,
    format,
    clock,
    signal,
    onTrouble,
    onBehind: (partition, ms) => metrics.behindLatest(stream, partition, ms / 1000),
    onThrottled: () => metrics.kinesisThrottled('get')(1),
    onRival(isLasting) {
      metrics.displaced(stream);
      if (!isLasting || isToldOfRival) return;
      isToldOfRival = true;
      log.warn(
        { stream, consumer },
        'another application subscribes to the stream as the same fan-out consumer, and each takes the subscriptions of the other: give each a source.kinesis.fan_out.consumer of its own',
      );
    },
    onRequest: metrics.awsRequest,
    onLook: ({ shards, leases }) => metrics.leases(stream, shards, leases),
    onLease: ({ kind }) => {
      if (kind !== 'trouble') metrics.leaseChanged(stream, kind);
    },
    onGone(partition) {
      metrics.partition(stream, partition).lostRecords(1, clock.now());
      log.warn(
        { stream, partition },
        'the shard has left the stream before it was read to its end, and what was left in it is lost: retention is too short, or the job was away too long; the shards that followed it are next',
      );
    },
  });
}

/** What the record values of a topic are. */
export function formatOf({ format, columns }: JobConfig['event']): RecordFormat {
  return format === 'csv' ? { type: 'csv', columns: columns!, delimiter: ',' } : { type: 'json' };
}
