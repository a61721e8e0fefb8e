import { createHash } from 'node:crypto';
import { closest } from '../runtime/closest.ts';
import { describeError } from '../runtime/errors.ts';
import type { EventLayout } from './columns.ts';
import type { FeatureGroupConfig, FeaturesConfig, FiltersConfig } from './config.ts';
import { parseDuration } from './duration.ts';
import type { EventFeature, FeatureSet } from './plan.ts';
import { createPlanBuilder, maxPredicates, type PlanBuilder, type Window } from './plan-builder.ts';
import { bothPredicate, filterPredicate, flagPredicate, type Predicate, presentPredicate } from './predicate.ts';

/** What is wrong with a definition, and where in the config. */
export interface DefinitionFault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type CompiledFeatures =
  | { readonly set: FeatureSet; readonly faults: readonly [] }
  | { readonly set: undefined; readonly faults: readonly DefinitionFault[] };

const dayMs = 86_400_000;
const maxWindowMs = 90 * dayMs;
const aggregateNames = ['count', 'sum', 'mean', 'min', 'max', 'stddev', 'ratio', 'time-since-last', 'is-new'] as const;
type AggregateName = (typeof aggregateNames)[number];

/** Compiles the `features` and `filters` sections; every fault is returned, with its path below the config's root. */
export function compileFeatures(
  groups: FeaturesConfig,
  filters: FiltersConfig,
  layout: EventLayout,
  allowedLatenessMs: number,
): CompiledFeatures {
  const compiler = createCompiler(filters, layout, allowedLatenessMs);
  for (const [index, group] of groups.entries()) compiler.group(group, ['features', index]);
  return compiler.finish();
}

function createCompiler(filters: FiltersConfig, layout: EventLayout, allowedLatenessMs: number) {
  const faults: DefinitionFault[] = [];
  const names: string[] = [];
  const definitions: string[] = [];
  const eventFeatures: EventFeature[] = [];
  const builders = new Map<string, PlanBuilder>();
  const predicates = createPredicates(filters, layout, faults);

  const fault = (path: readonly (string | number)[], message: string) => {
    faults.push({ path, message });
  };
  const column = (path: readonly (string | number)[], name: string, definition: string): number => {
    if (names.includes(name)) fault(path, `the feature ${name} is defined twice`);
    definitions.push(definition);
    return names.push(name) - 1;
  };
  const fieldOf = (path: readonly (string | number)[], name: string, text: boolean): number => {
    const fits = layout.fields.filter((field) => (field.type === 'text') === text).map((field) => field.name);
    const index = layout.fields.findIndex((field) => field.name === name);
    if (fits.includes(name)) return index;
    fault(
      path,
      index < 0 ? `there is no field ${name}${closest(name, fits)}` : `the field ${name} is ${text ? 'not ' : ''}text`,
    );
    return -1;
  };

  function eventGroup(group: FeatureGroupConfig, path: readonly (string | number)[]) {
    for (const key of ['entity', 'windows', 'aggregates', 'where', 'delay'] as const) {
      if (group[key] !== undefined) fault([...path, key], `${key} does not go with event features`);
    }
    for (const [index, name] of (group.event ?? []).entries()) {
      const at = [...path, 'event', index];
      if (name === 'is-weekend' || name === 'is-night') {
        eventFeatures.push({ column: column(at, name, `event ${name}, UTC`), source: name });
        continue;
      }
      const field = fieldOf(at, name, false);
      if (field < 0) continue;
      const { scale } = layout.fields[field];
      const definition = `event ${name} with ${scale} decimals`;
      eventFeatures.push({ column: column(at, name, definition), source: 'field', field, divisor: 10 ** scale });
    }
  }

  function windowsOf(group: FeatureGroupConfig, path: readonly (string | number)[]) {
    const delayMs = group.delay === undefined ? 0 : parseDuration(group.delay)!;
    const windows: { text: string; window: Window }[] = [];
    for (const [index, text] of (group.windows ?? []).entries()) {
      const widthMs = parseDuration(text)!;
      if (widthMs > maxWindowMs) fault([...path, 'windows', index], `a window is at most 90d, got ${text}`);
      windows.push({ text, window: { widthMs, delayMs, excludeCurrent: group.current === 'exclude' } });
    }
    if (delayMs > maxWindowMs) fault([...path, 'delay'], `a delay is at most 90d, got ${group.delay}`);
    return windows;
  }

  function entityGroup(group: FeatureGroupConfig, path: readonly (string | number)[]) {
    const known = layout.entities.map((entity) => entity.name);
    const entity = known.indexOf(group.entity!);
    if (entity < 0) fault([...path, 'entity'], `there is no entity ${group.entity}${closest(group.entity!, known)}`);
    for (const key of ['windows', 'aggregates'] as const) {
      if (group[key] === undefined)
        fault(path, `${key} is missing: a list such as ${key === 'windows' ? '[1h, 24h]' : '[count]'}`);
    }
    const where = group.where === undefined ? undefined : predicates.named(group.where, [...path, 'where']);
    const windows = windowsOf(group, path);
    if (entity < 0 || (where !== undefined && where < 0)) return;
    let builder = builders.get(group.entity!);
    if (!builder) {
      builder = createPlanBuilder(entity, group.entity!, allowedLatenessMs);
      builders.set(group.entity!, builder);
    }
    for (const [index, text] of (group.aggregates ?? []).entries()) {
      const aggregate = parseAggregate(text, [...path, 'aggregates', index]);
      if (!aggregate) continue;
      for (const { text: width, window } of windows) define(builder, group, aggregate, where, width, window);
    }
  }

  interface Aggregate {
    readonly name: AggregateName;
    readonly argument: string;
    readonly field: number;
    readonly part: number;
    readonly at: readonly (string | number)[];
  }

  function parseAggregate(text: string, at: readonly (string | number)[]): Aggregate | undefined {
    const match = /^([a-z-]+)(?:\(\s*([A-Za-z0-9_-]*)\s*\))?$/.exec(text);
    const name = aggregateNames.find((known) => known === match?.[1]);
    if (!match || !name) {
      fault(at, `there is no aggregate ${text}${closest(match?.[1] ?? text, aggregateNames)}`);
      return undefined;
    }
    const argument = match[2] ?? '';
    const wantsArgument = name !== 'count' && name !== 'time-since-last';
    if (wantsArgument !== (argument !== '')) {
      fault(
        at,
        wantsArgument
          ? `${name} needs an argument, such as ${name}(${name === 'ratio' ? 'filter' : 'field'})`
          : `${name} takes no argument`,
      );
      return undefined;
    }
    const before = faults.length;
    const field = !wantsArgument || name === 'ratio' ? -1 : fieldOf(at, argument, name === 'is-new');
    const part = name === 'ratio' ? predicates.named(argument, at) : -1;
    return faults.length > before ? undefined : { name, argument, field, part, at };
  }

  function define(
    builder: PlanBuilder,
    group: FeatureGroupConfig,
    aggregate: Aggregate,
    where: number | undefined,
    width: string,
    window: Window,
  ) {
    const { name, argument, field, part, at } = aggregate;
    const scale = field < 0 ? 0 : layout.fields[field].scale;
    const suffix = `${width}${group.delay === undefined ? '' : `.delay-${group.delay}`}${window.excludeCurrent ? '.exclude-current' : ''}`;
    const full = [group.entity, name, argument, group.where, suffix]
      .filter((piece) => piece !== undefined && piece !== '')
      .join('.');
    const counted = where === undefined ? 'every event' : predicates.list[where].text;
    const subject =
      field < 0 ? (part < 0 ? '' : ` of ${predicates.list[part].text}`) : ` of ${argument} with ${scale} decimals`;
    const definition =
      `${name}${subject} over ${counted} of the ${group.entity} within ${window.widthMs} ms` +
      ` ending ${window.delayMs} ms before the event, current event ${group.current}d`;
    const index = column(at, full, definition);

    const optional = field >= 0 && name !== 'is-new' && layout.fields[field].optional;
    const population = optional ? predicates.both(where, predicates.present(field)) : where;
    const bit = population === undefined ? 0 : builder.bit(population);
    const span = builder.span(
      name === 'time-since-last' || name === 'is-new' ? { ...window, excludeCurrent: true } : window,
    );
    const divisor = 10 ** scale;
    const common = { column: index, span };
    if (name === 'time-since-last') return builder.add({ ...common, op: name, scan: builder.lastTime(span, bit) });
    if (name === 'is-new') return builder.add({ ...common, op: name, scan: builder.seen(span, field, bit) });
    const count = builder.count(span, bit);
    if (name === 'count') builder.add({ ...common, op: name, count });
    else if (name === 'sum' || name === 'mean')
      builder.add({ ...common, op: name, sum: builder.sum(span, field, bit), count, divisor });
    else if (name === 'min' || name === 'max')
      builder.add({ ...common, op: 'extreme', scan: builder.extreme(span, name, field, bit), count, divisor });
    else if (name === 'ratio')
      builder.add({ ...common, op: name, part: builder.count(span, builder.bit(predicates.both(where, part))), count });
    else {
      const squareHigh = builder.square(span, field, bit);
      builder.add({
        ...common,
        op: name,
        sum: builder.sum(span, field, bit),
        squareHigh,
        squareLow: squareHigh + 1,
        count,
        divisor,
      });
    }
  }

  return {
    group(group: FeatureGroupConfig, path: readonly (string | number)[]) {
      if (group.event !== undefined) eventGroup(group, path);
      else if (group.entity !== undefined) entityGroup(group, path);
      else fault(path, 'a group of features needs `entity` (or `event`)');
    },
    finish(): CompiledFeatures {
      const entities = [...builders.values()].map((builder) => builder.build());
      for (const plan of entities) {
        if (plan.predicates.length > maxPredicates) {
          fault(
            ['features'],
            `the entity ${plan.type} uses ${plan.predicates.length} different filters; at most ${maxPredicates} are possible`,
          );
        }
      }
      if (faults.length > 0) return { set: undefined, faults };
      const retained = entities.map((plan) => [
        plan.type,
        plan.retentionMs,
        plan.predicates.map((index) => predicates.list[index].text),
        plan.numbers.map((field) => `${layout.fields[field].name}/${layout.fields[field].scale}`),
        plan.hashes.map((field) => layout.fields[field].name),
      ]);
      const set: FeatureSet = {
        names,
        definitions,
        hash: sha256(names.map((name, index) => `${name} ${definitions[index]}`).join('\n')),
        layout,
        recipe: sha256(JSON.stringify(retained)).slice(0, 12),
        eventFeatures,
        predicates: predicates.list,
        hashedFields: [...new Set(entities.flatMap((plan) => plan.hashes))],
        entities,
        horizonMs: Math.max(0, ...entities.map((plan) => plan.horizonMs)),
      };
      return { set, faults: [] };
    },
  };
}

/** The predicates in use, each once; filters compile when first named. */
function createPredicates(filters: FiltersConfig, layout: EventLayout, faults: DefinitionFault[]) {
  const list: Predicate[] = [];
  const add = (predicate: Predicate): number => {
    const found = list.findIndex((other) => other.text === predicate.text);
    return found >= 0 ? found : list.push(predicate) - 1;
  };
  const compiled = new Map<string, Predicate>();
  for (const [name, source] of Object.entries(filters)) {
    if (layout.fields.some((field) => field.name === name)) {
      faults.push({ path: ['filters', name], message: `${name} is a field already; give the filter another name` });
    }
    try {
      compiled.set(name, filterPredicate(layout, source));
    } catch (error) {
      faults.push({ path: ['filters', name], message: describeError(error) });
    }
  }
  return {
    list,
    named(name: string, path: readonly (string | number)[]): number {
      const filter = compiled.get(name);
      if (filter) return add(filter);
      const flag = layout.fields.findIndex((field) => field.name === name && field.type === 'flag');
      if (flag >= 0) return add(flagPredicate(layout, flag));
      if (!(name in filters)) {
        const known = [
          ...Object.keys(filters),
          ...layout.fields.filter((field) => field.type === 'flag').map((field) => field.name),
        ];
        faults.push({ path, message: `there is no filter or flag field ${name}${closest(name, known)}` });
      }
      return -1;
    },
    present: (field: number): number => add(presentPredicate(layout, field)),
    both: (left: number | undefined, right: number): number =>
      left === undefined || left === right ? right : add(bothPredicate(list[left], list[right])),
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
