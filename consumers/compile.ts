import { compileFeatures } from '../features/definition.ts';
import type { FeatureSet } from '../features/plan.ts';
import { closest } from '../runtime/closest.ts';
import type { ConfigFault } from '../runtime/config/document.ts';
import { type CompiledPolicy, compilePolicy } from '../scoring/policy.ts';
import type { JobConfig } from './config.ts';
import { layoutOf } from './decode/decoder.ts';
import { largestStored } from './decode/values.ts';
import { type KafkaSinkConfig, type KafkaSourceConfig, sinkConnection } from './kafka/config.ts';

/** What the config's definitions compile to. */
export interface CompiledJob {
  readonly config: JobConfig;
  readonly set: FeatureSet;
  readonly policy: CompiledPolicy;
}

export type JobCompilation =
  | { readonly job: CompiledJob; readonly faults: readonly [] }
  | { readonly job: undefined; readonly faults: readonly ConfigFault[] };

/** Compiles features and policy, and checks what one section of the config says of another; answers every fault. */
export function compileJob(config: JobConfig): JobCompilation {
  const layout = layoutOf(config.event);
  const faults = [...eventFaults(config), ...pairingFaults(config)];
  const features = compileFeatures(config.features, config.filters, layout, config.event.time.allowed_lateness_ms);
  if (features.set === undefined) return { job: undefined, faults: [...faults, ...features.faults] };
  const { policy, faults: policyFaults } = compilePolicy(config.policy, features.set, config.model.onnx !== undefined);
  if (policy === undefined || faults.length > 0) return { job: undefined, faults: [...faults, ...policyFaults] };
  return { job: { config, set: features.set, policy }, faults: [] };
}

/** Names in `event` that refer to other parts of it. */
function eventFaults({ event, source }: JobConfig): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const entities = Object.keys(event.entities);
  const flags = Object.keys(event.fields).filter((name) => event.fields[name].type === 'flag');
  if (event.key !== undefined && !entities.includes(event.key)) {
    faults.push({ path: ['event', 'key'], message: `there is no entity ${event.key}${closest(event.key, entities)}` });
  }
  if (event.label !== undefined && !flags.includes(event.label)) {
    faults.push({
      path: ['event', 'label'],
      message: `there is no flag field ${event.label}${closest(event.label, flags)}`,
    });
  }
  const kinds = 'const' in event.kind ? [event.kind.const] : Object.values(event.kind.map);
  for (const [index, kind] of (event.unscored ?? []).entries()) {
    if (kinds.includes(kind)) continue;
    faults.push({
      path: ['event', 'unscored', index],
      message: `event.kind gives no kind ${kind}${closest(kind, kinds)}; it gives ${[...new Set(kinds)].join(', ')}`,
    });
  }
  const isTokenised = entities.some((name) => event.entities[name].tokenise);
  if (isTokenised && event.token_key === undefined) {
    faults.push({ path: ['event'], message: 'token_key is missing: `tokenise` needs it' });
  }
  if (isTokenised && source.kafka && event.key === undefined) {
    faults.push({
      path: ['event'],
      message:
        "key is missing: with `tokenise` the source's record keys are not passed on, as they may be ids that must not get out; name the entity that the source is keyed by",
    });
  }
  faults.push(...boundFaults(event));
  if (source.kafka && event.format === 'csv' && event.columns === undefined) {
    faults.push({ path: ['event'], message: 'columns is missing: CSV records from Kafka have no header' });
  }
  return faults;
}

/** Bounds that no value could reach: numbers are stored as integers of a limited size. */
function boundFaults({ fields }: JobConfig['event']): ConfigFault[] {
  return Object.entries(fields).flatMap(([name, { type, scale, min = 0, max = 0 }]) => {
    if (type !== 'money' && type !== 'number') return [];
    const largest = Math.floor(largestStored / 10 ** scale);
    const isBeyond = (bound: number) => Math.abs(bound) * 10 ** scale > largestStored;
    const beyond = (key: 'min' | 'max', bound: number): ConfigFault[] => {
      if (!isBeyond(bound)) return [];
      const message = `with scale ${scale} a number is at most ${largest}: lower the bound, or keep fewer decimals`;
      return [{ path: ['event', 'fields', name, key], message }];
    };
    return [...beyond('min', min), ...beyond('max', max)];
  });
}

/** Which source goes with which sink and delivery. */
function pairingFaults({ source, sink, delivery }: JobConfig): ConfigFault[] {
  const faults: ConfigFault[] = [];
  if (sink.kafka && sinkConnection(sink.kafka, source.kafka) === undefined) {
    faults.push({ path: ['sink', 'kafka'], message: 'brokers is missing: there is no Kafka source to take it from' });
  }
  const isOneCluster = source.kafka !== undefined && sink.kafka !== undefined && sameCluster(source.kafka, sink.kafka);
  if (delivery === 'exactly-once' && source.kafka && sink.kafka && !isOneCluster) {
    faults.push({
      path: ['sink', 'kafka', 'brokers'],
      message:
        'a transaction holds output and position of one cluster only: for another cluster set delivery: at-least-once',
    });
  }
  for (const key of ['topic', 'dead_letters'] as const) {
    if (!isOneCluster || sink.kafka?.[key] !== source.kafka?.topic) continue;
    faults.push({
      path: ['sink', 'kafka', key],
      message: 'it is the topic that the job reads: it would read its own output, for ever',
    });
  }
  if (delivery === 'at-least-once' && !(source.kafka && sink.kafka)) {
    faults.push({
      path: ['delivery'],
      message: 'at-least-once is for a Kafka source with a Kafka sink; with files the pair is exactly-once at no cost',
    });
  }
  return faults;
}

function sameCluster(source: KafkaSourceConfig, sink: KafkaSinkConfig): boolean {
  return sink.brokers === undefined || [...sink.brokers].sort().join() === [...source.brokers].sort().join();
}
