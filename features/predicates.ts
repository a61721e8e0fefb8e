import { closest } from '../runtime/closest.ts';
import { describeError } from '../runtime/errors.ts';
import type { EventLayout } from './columns.ts';
import type { FeatureGroupConfig, FiltersConfig } from './config.ts';
import {
  bothPredicate,
  filterPredicate,
  flagPredicate,
  labelPredicate,
  type Predicate,
  presentPredicate,
  transactionPredicate,
} from './predicate.ts';

type Path = readonly (string | number)[];

/** Which events a name takes: a predicate that is known when the event comes, or the kind of a label that comes later. */
export interface Choice {
  readonly predicate: number | undefined;
  readonly label: string | undefined;
}

/** The predicates in use, each once; filters compile when first named. */
export interface Predicates {
  readonly list: readonly Predicate[];
  /** Index of the one that takes every transaction. */
  readonly all: number;
  /** What a group counts before any argument; undefined once a fault is reported. */
  population(group: FeatureGroupConfig, path: Path): Choice | undefined;
  /** What a filter argument takes. */
  argument(group: FeatureGroupConfig, name: string, path: Path): Choice | undefined;
  present(field: number): number;
  isOptionalNumber(field: number): boolean;
  both(left: number | undefined, right: number): number;
  labelled(population: number, kind: string): number;
  /** As definitions say it. */
  words(choice: Choice): string;
}

export function createPredicates(
  filters: FiltersConfig,
  layout: EventLayout,
  fault: (path: Path, message: string) => void,
): Predicates {
  const list: Predicate[] = [];
  const add = (predicate: Predicate): number => {
    const found = list.findIndex((other) => other.text === predicate.text);
    return found >= 0 ? found : list.push(predicate) - 1;
  };
  const compiled = new Map<string, Predicate>();
  for (const [name, source] of Object.entries(filters)) {
    if (layout.fields.some((field) => field.name === name))
      fault(['filters', name], `${name} is a field already; give the filter another name`);
    if (layout.kinds?.includes(name))
      fault(['filters', name], `${name} is a kind of event already; give the filter another name`);
    try {
      compiled.set(name, filterPredicate(layout, source));
    } catch (error) {
      fault(['filters', name], describeError(error));
    }
  }

  function named(group: FeatureGroupConfig, name: string, path: Path): Choice | undefined {
    const filter = compiled.get(name);
    if (filter) return { predicate: add(filter), label: undefined };
    const flag = layout.fields.findIndex((field) => field.name === name && field.type === 'flag');
    if (flag >= 0) return { predicate: add(flagPredicate(layout, flag)), label: undefined };
    const takesLabels = group.labels === 'at-transaction';
    if (takesLabels && layout.kinds?.includes(name)) return { predicate: undefined, label: name };
    if (name in filters) return undefined;
    const known = [
      ...Object.keys(filters),
      ...layout.fields.filter((field) => field.type === 'flag').map((field) => field.name),
      ...(takesLabels ? (layout.kinds ?? []) : []),
    ];
    const what = takesLabels ? 'filter, flag field or kind of label' : 'filter or flag field';
    const hint =
      !takesLabels && layout.kinds?.includes(name)
        ? `; for events that are labelled so later, add labels: at-transaction`
        : closest(name, known);
    fault(path, `there is no ${what} ${name}${hint}`);
    return undefined;
  }

  const both = (left: number | undefined, right: number): number =>
    left === undefined || left === right ? right : add(bothPredicate(list[left], list[right]));
  const transactions = () => add(transactionPredicate);

  return {
    list,
    get all() {
      return transactions();
    },
    population(group, path) {
      const base = group.labels === 'at-transaction' ? transactions() : undefined;
      if (group.where === undefined) return { predicate: base, label: undefined };
      const choice = named(group, group.where, [...path.slice(0, 2), 'where']);
      if (choice === undefined) return undefined;
      if (choice.label !== undefined) return { predicate: base, label: choice.label };
      return { predicate: both(base, choice.predicate!), label: undefined };
    },
    argument(group, name, path) {
      const choice = named(group, name, path);
      const where = group.where;
      if (choice?.label !== undefined && where !== undefined && layout.kinds?.includes(where) && !(where in filters)) {
        fault(path, `${name} and ${where} are both labels; one feature can go by one`);
        return undefined;
      }
      return choice;
    },
    present: (field) => add(presentPredicate(layout, field)),
    isOptionalNumber: (field) => layout.fields[field].optional && layout.fields[field].type !== 'text',
    both,
    labelled: (population, kind) => add(labelPredicate(list[population], kind)),
    words({ predicate, label }) {
      const counted = predicate === undefined ? 'every event' : list[predicate].text;
      return label === undefined ? counted : `${counted} labelled ${label}`;
    },
  };
}
