import { createHash } from 'node:crypto';
import { closest } from '../runtime/closest.ts';
import { describeError } from '../runtime/errors.ts';
import { compileExpression } from '../runtime/expression.ts';
import type { Aggregate } from './aggregates/aggregate.ts';
import { type ParsedAggregate, parseAggregate } from './aggregates/parse.ts';
import { type EventLayout, entityDefaults } from './columns.ts';
import type { FeatureGroupConfig, FeaturesConfig, FiltersConfig } from './config.ts';
import type { FeatureSource } from './describe.ts';
import { parseDuration } from './duration.ts';
import { entityBytes } from './footprint.ts';
import { type DerivedFeature, type EntityPlan, type EventFeature, type FeatureSet, idField } from './plan.ts';
import { createPlanBuilder, maxPredicates, type PlanBuilder, type Window } from './plan-builder.ts';
import { createPredicates, type Predicates } from './predicates.ts';
import { createRepeatPlan } from './repeats.ts';

/** What is wrong with a definition, and where in the config. */
export interface DefinitionFault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export type CompiledFeatures =
  | { readonly set: FeatureSet; readonly faults: readonly [] }
  | { readonly set: undefined; readonly faults: readonly DefinitionFault[] };

type Path = readonly (string | number)[];

const dayMs = 86_400_000;
const maxWindowMs = 400 * dayMs;
const maxDelayMs = 90 * dayMs;
const defaultIdleMs = parseDuration(entityDefaults.idle)!;
const maxEntityBytes = 2 ** 25;

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
  const sources: FeatureSource[] = [];
  const eventFeatures: EventFeature[] = [];
  const builders = new Map<string, PlanBuilder>();
  const fault = (path: Path, message: string) => {
    faults.push({ path, message });
  };
  const predicates = createPredicates(filters, layout, fault);
  /** Expressions wait until all other features have their names. */
  const expressions: { column: number; source: string; path: Path }[] = [];

  const column = (path: Path, name: string, definition: string, source: FeatureSource): number => {
    if (names.includes(name)) fault(path, `the feature ${name} is defined twice`);
    definitions.push(definition);
    sources.push(source);
    return names.push(name) - 1;
  };

  function eventGroup(group: FeatureGroupConfig, path: Path) {
    for (const key of ['entity', 'windows', 'aggregates', 'where', 'delay', 'name', 'expression'] as const) {
      if (group[key] !== undefined) fault([...path, key], `${key} does not go with event features`);
    }
    const numbers = layout.fields.filter(({ type }) => type !== 'text').map(({ name }) => name);
    for (const [index, name] of (group.event ?? []).entries()) {
      const at = [...path, 'event', index];
      const source: FeatureSource = { from: 'event', what: name };
      if (name === 'is-weekend' || name === 'is-night') {
        eventFeatures.push({ column: column(at, name, `event ${name}, UTC`, source), source: name });
        continue;
      }
      const field = layout.fields.findIndex((known) => known.name === name);
      if (!numbers.includes(name)) {
        fault(at, field < 0 ? `there is no field ${name}${closest(name, numbers)}` : `the field ${name} is text`);
        continue;
      }
      const { scale } = layout.fields[field];
      const definition = `event ${name} with ${scale} decimals`;
      eventFeatures.push({
        column: column(at, name, definition, source),
        source: 'field',
        field,
        divisor: 10 ** scale,
      });
    }
  }

  function expressionFeature(group: FeatureGroupConfig, path: Path) {
    for (const key of ['entity', 'windows', 'aggregates', 'where', 'delay'] as const) {
      if (group[key] !== undefined) fault([...path, key], `${key} does not go with an expression`);
    }
    if (group.name === undefined) return fault(path, 'an expression needs a `name` for its feature');
    const source = group.expression!.trim();
    const at = column([...path, 'name'], group.name, '', { from: 'expression', expression: source });
    expressions.push({ column: at, source, path: [...path, 'expression'] });
  }

  function windowsOf(group: FeatureGroupConfig, path: Path) {
    const delayMs = group.delay === undefined ? 0 : parseDuration(group.delay)!;
    const windows: { text: string; window: Window }[] = [];
    for (const [index, text] of (group.windows ?? []).entries()) {
      const widthMs = text === 'all' ? Number.POSITIVE_INFINITY : parseDuration(text)!;
      if (text !== 'all' && widthMs > maxWindowMs)
        fault([...path, 'windows', index], `a window is at most 400d, or all; got ${text}`);
      windows.push({ text, window: { widthMs, delayMs, excludeCurrent: group.current === 'exclude' } });
    }
    if (delayMs > maxDelayMs) fault([...path, 'delay'], `a delay is at most 90d, got ${group.delay}`);
    return windows;
  }

  function entityGroup(group: FeatureGroupConfig, path: Path) {
    const known = layout.entities.map((entity) => entity.name);
    const entity = known.indexOf(group.entity!);
    if (entity < 0) fault([...path, 'entity'], `there is no entity ${group.entity}${closest(group.entity!, known)}`);
    for (const key of ['windows', 'aggregates'] as const) {
      if (group[key] === undefined)
        fault(path, `${key} is missing: a list such as ${key === 'windows' ? '[1h, 24h]' : '[count]'}`);
    }
    for (const key of ['name', 'expression'] as const) {
      if (group[key] !== undefined) fault([...path, key], `${key} does not go with an entity's features`);
    }
    const population = predicates.population(group, path);
    const windows = windowsOf(group, path);
    if (entity < 0 || population === undefined) return;
    let builder = builders.get(group.entity!);
    if (!builder) {
      const { exactEvents = entityDefaults.exactEvents, idleMs = defaultIdleMs } = layout.entities[entity];
      builder = createPlanBuilder(entity, group.entity!, allowedLatenessMs, { exactEvents, idleMs });
      builders.set(group.entity!, builder);
    }
    for (const [index, text] of (group.aggregates ?? []).entries()) {
      const at = [...path, 'aggregates', index];
      const parsed = parseAggregate(text, layout, (message) => fault(at, message));
      if (!parsed) continue;
      for (const { text: width, window } of windows) define(builder, group, parsed, width, window, at);
    }
  }

  function define(
    builder: PlanBuilder,
    group: FeatureGroupConfig,
    parsed: ParsedAggregate,
    width: string,
    window: Window,
    at: Path,
  ) {
    const { aggregate, fields, windows } = parsed;
    if (aggregate.needsWidth === true && !Number.isFinite(window.widthMs))
      return fault(at, `${aggregate.name} needs windows with a width, not all`);
    if (windows.some((longer) => longer > maxWindowMs))
      return fault(at, `a window is at most 400d, in ${aggregate.name} too`);
    if (windows.some((longer) => longer > 0 && longer <= window.widthMs))
      return fault(at, `the window of ${aggregate.name} must be longer than ${width}`);
    const before = faults.length;
    const terms = termsOf(predicates, builder, group, parsed, at);
    if (faults.length > before) return;
    if (terms.hasLabel && !Number.isFinite(window.widthMs))
      return fault(
        at,
        'labels need windows with a width, not all: they find transactions that are still kept one by one',
      );
    const excludesCurrent = aggregate.excludesCurrent === true;
    const span = builder.span({ ...window, excludeCurrent: window.excludeCurrent || excludesCurrent });
    const source: FeatureSource = { from: 'entity', group, aggregate, arguments: parsed.texts, width };
    const definition = definitionOf(group, parsed, window, terms.texts);
    const index = column(at, nameOf(group, parsed, width, window), definition, source);
    const planned = aggregate.plan({
      builder,
      span,
      widthMs: window.widthMs,
      delayMs: window.delayMs,
      bit: terms.bit,
      fields,
      isText: fields[0] >= 0 && layout.fields[fields[0]].type === 'text',
      filters: terms.filters,
      windows,
      present: (argument) =>
        layout.fields[fields[argument]].optional ? builder.bit(predicates.present(fields[argument])) : 0,
      spanOf: (widthMs) =>
        builder.span({ ...window, widthMs, excludeCurrent: window.excludeCurrent || excludesCurrent }),
      divisors: fields.map((field) => (field < 0 ? 1 : 10 ** layout.fields[field].scale)),
    });
    const { compute, total = -1, slot = -1, alsoSpan = span } = planned;
    builder.add({ column: index, span, alsoSpan, total, slot, hasLabel: terms.hasLabel, compute });
  }

  function nameOf(group: FeatureGroupConfig, { aggregate, texts }: ParsedAggregate, width: string, window: Window) {
    const pieces = [group.entity, aggregate.name, ...texts, group.where, width];
    if (group.delay !== undefined) pieces.push(`delay-${group.delay}`);
    if (window.excludeCurrent) pieces.push('exclude-current');
    if (group.labels === 'at-transaction') pieces.push('at-transaction');
    return pieces.filter((piece) => piece !== undefined && piece !== '').join('.');
  }

  /** Everything that the value depends on: equal text, equal value. */
  function definitionOf(
    group: FeatureGroupConfig,
    { aggregate, fields, windows }: ParsedAggregate,
    { widthMs, delayMs }: Window,
    { counted, filters }: Terms['texts'],
  ): string {
    const subjects = fields.map((field, k) => {
      if (field >= 0) return ` of ${words(layout.fields[field])} with ${layout.fields[field].scale} decimals`;
      return windows[k] > 0 ? ` against ${windows[k]} ms` : ` of ${filters[k]}`;
    });
    const { idleMs = defaultIdleMs } = layout.entities.find(({ name }) => name === group.entity)!;
    const within = Number.isFinite(widthMs) ? `within ${widthMs} ms` : `within all time but for pauses of ${idleMs} ms`;
    return (
      `${aggregate.name}${subjects.join('')} over ${counted} of the ${words(layout.entities.find(({ name }) => name === group.entity)!)} ${within}` +
      ` ending ${delayMs} ms before the event, current event ${group.current ?? 'include'}d`
    );
  }

  function plansOf(): EntityPlan[] {
    return [...builders.values()].map((builder) => {
      const plan = builder.build();
      if (plan.predicates.length > maxPredicates) {
        fault(
          ['features'],
          `the entity ${plan.type} uses ${plan.predicates.length} different filters; at most ${maxPredicates} are possible`,
        );
      }
      const bytes = entityBytes(plan);
      if (bytes > maxEntityBytes) {
        fault(
          ['features'],
          `one ${plan.type} may take ${Math.round(bytes / 2 ** 20)} MiB of state; at most ${maxEntityBytes / 2 ** 20} are possible: lower event.entities.${plan.type}.exact_events, or use fewer windows`,
        );
      }
      return plan;
    });
  }

  /** Expressions may read every other feature, and expressions before them. */
  function derivedFeatures(): DerivedFeature[] {
    const waiting = new Set(expressions.map((expression) => expression.column));
    const derived: DerivedFeature[] = [];
    for (const { column: at, source, path } of expressions) {
      const known = names.map((name, index) => ({ name: waiting.has(index) ? '' : name, type: 'number' as const }));
      try {
        const expression = compileExpression(source, known);
        definitions[at] =
          `expression ${source} with ${expression.uses.map((index) => `${names[index]}: ${definitions[index]}`).join('; ')}`;
        derived.push({ column: at, uses: expression.uses, evaluate: (read) => numeric(expression.evaluate(read)) });
      } catch (error) {
        fault(path, describeError(error));
      }
      waiting.delete(at);
    }
    return derived;
  }

  return {
    group(group: FeatureGroupConfig, path: Path) {
      if (group.event !== undefined) eventGroup(group, path);
      else if (group.expression !== undefined) expressionFeature(group, path);
      else if (group.entity !== undefined) entityGroup(group, path);
      else fault(path, 'a group of features needs `entity` (or `event`, or `expression`)');
    },
    finish(): CompiledFeatures {
      const entities = plansOf();
      const derived = derivedFeatures();
      if (faults.length > 0) return { set: undefined, faults };
      const retained = entities.map((plan) => retainedBy(plan, predicates, layout));
      const repeats =
        layout.deduplication === undefined ? undefined : createRepeatPlan(layout.deduplication, allowedLatenessMs);
      const set: FeatureSet = {
        names,
        definitions,
        sources,
        hash: sha256(names.map((name, index) => `${name} ${definitions[index]}`).join('\n')),
        layout,
        recipe: sha256(JSON.stringify([retained, layout.deduplication ?? null])).slice(0, 12),
        eventFeatures,
        predicates: predicates.list,
        hashedFields: [...new Set(entities.flatMap((plan) => plan.hashes.filter((field) => field !== idField)))],
        hashesIds: repeats !== undefined || entities.some((plan) => plan.hashes.includes(idField)),
        entities,
        repeats,
        derived,
        horizonMs: Math.max(0, ...entities.map((plan) => plan.horizonMs)),
      };
      return { set, faults: [] };
    },
  };
}

interface Terms {
  /** Of the events that count. */
  readonly bit: number;
  readonly filters: readonly number[];
  /** Some of it comes with labels. */
  readonly hasLabel: boolean;
  readonly texts: { readonly counted: string; readonly filters: readonly string[] };
}

/** Mask bits and words of what a feature counts, and of its filter arguments. */
function termsOf(
  predicates: Predicates,
  builder: PlanBuilder,
  group: FeatureGroupConfig,
  { aggregate, fields, arguments: args }: ParsedAggregate,
  at: Path,
): Terms {
  const population = predicates.population(group, at)!;
  let counted = population.predicate;
  for (const field of presentFields(aggregate, fields, predicates))
    counted = predicates.both(counted, predicates.present(field));
  const filters = args.map(({ type, text }) => (type === 'filter' ? predicates.argument(group, text, at) : undefined));
  const label = (base: number | undefined, kind: string) => {
    const requires = base ?? predicates.all;
    const bit = builder.bit(predicates.labelled(requires, kind));
    builder.label({ kind, bit, requires: builder.bit(requires), transaction: builder.bit(predicates.all) });
    return bit;
  };
  const bit =
    population.label === undefined
      ? counted === undefined
        ? 0
        : builder.bit(counted)
      : label(counted, population.label);
  return {
    bit,
    filters: filters.map((filter) => {
      if (filter === undefined) return 0;
      if (filter.label !== undefined) return label(counted, filter.label);
      const both = predicates.both(counted, filter.predicate!);
      return population.label === undefined ? builder.bit(both) : label(both, population.label);
    }),
    hasLabel: population.label !== undefined || filters.some((filter) => filter?.label !== undefined),
    texts: {
      counted: predicates.words(population),
      filters: filters.map((filter) => (filter === undefined ? '' : predicates.words(filter))),
    },
  };
}

/** A name, and what its values are made of the record's by: other values, other features. */
function words({ name, made }: { readonly name: string; readonly made?: string }): string {
  return made === undefined ? name : `${name} (${made})`;
}

/** Optional number fields: only events that have them count. */
function presentFields({ arguments: types }: Aggregate, fields: readonly number[], predicates: Predicates): number[] {
  return fields.filter((field, k) => field >= 0 && types[k] !== 'text' && predicates.isOptionalNumber(field));
}

/** What decides which states may be read as which: equal text, equal layout of what is stored. */
function retainedBy(plan: EntityPlan, predicates: Predicates, layout: EventLayout): unknown[] {
  const field = (index: number) => layout.fields[index].name;
  const numbers = plan.numbers.map(({ field: index, longitude }) =>
    longitude < 0 ? `${field(index)}/${layout.fields[index].scale}` : `place ${field(index)} ${field(longitude)}`,
  );
  const hashes = plan.hashes.map((index) => (index === idField ? 'transaction id' : words(layout.fields[index])));
  const masks = plan.predicates.map((index) => predicates.list[index].text);
  const always = [words(layout.entities[plan.entity]), plan.retentionMs, masks, numbers, hashes];
  // Totals without end are only as good as what was added up from the beginning.
  if (!Number.isFinite(plan.idleMs)) return [...always, plan.exactEvents];
  return [...always, plan.exactEvents, plan.idleMs, plan.cumulatives, plan.summaries];
}

function numeric(value: number | string): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : Number.NaN;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
