import { compileFeatures } from '../features/definition.ts';
import type { FeatureSet } from '../features/plan.ts';
import { closest } from '../runtime/closest.ts';
import type { ConfigFault } from '../runtime/config/document.ts';
import { type CompiledPolicy, compilePolicy } from '../scoring/policy.ts';
import type { JobConfig } from './config.ts';
import { layoutOf } from './decode/decoder.ts';
import { largestStored } from './decode/values.ts';
import { kindFaults } from './kinds.ts';
import { pairingFaults } from './pairing.ts';

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
  const { set, policy, faults } = compileSections(config);
  if (set === undefined || policy === undefined || faults.length > 0) return { job: undefined, faults };
  return { job: { config, set, policy }, faults: [] };
}

/** As far as the sections are there; those that are unsound in themselves are left out. */
export function compileSections(sections: Partial<JobConfig>): {
  readonly set?: FeatureSet;
  readonly policy?: CompiledPolicy;
  readonly faults: readonly ConfigFault[];
} {
  const { event, source, sink, delivery, filters, features, model, policy } = sections;
  const faults = kindFaults(sections);
  if (event && source) faults.push(...eventFaults({ event, source }));
  if (source && sink) faults.push(...pairingFaults({ source, sink, delivery }));
  if (!event || !filters || !features) return { faults };
  const compiled = compileFeatures(features, filters, layoutOf(event), event.time.allowed_lateness_ms);
  faults.push(...compiled.faults);
  if (!compiled.set || !model || !policy) return { faults };
  const rules = compilePolicy(policy, compiled.set, model.onnx !== undefined);
  faults.push(...rules.faults);
  return { set: compiled.set, policy: rules.policy, faults };
}

/** Names in `event` that refer to other parts of it. */
function eventFaults({ event, source }: Pick<JobConfig, 'event' | 'source'>): ConfigFault[] {
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
  const isTokenised = entities.some((name) => event.entities[name].tokenise);
  if (isTokenised && event.token_key === undefined) {
    faults.push({ path: ['event'], message: 'token_key is missing: `tokenise` needs it' });
  }
  if (isTokenised && !source.file && event.key === undefined) {
    faults.push({
      path: ['event'],
      message:
        "key is missing: with `tokenise` the source's record keys are not passed on, as they may be ids that must not get out; name the entity that the source is keyed by",
    });
  }
  faults.push(...boundFaults(event));
  if (!source.file && event.format === 'csv' && event.columns === undefined) {
    faults.push({ path: ['event'], message: 'columns is missing: CSV records from a stream have no header' });
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
