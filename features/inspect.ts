import { decodeSubState } from './codec.ts';
import { derivedFeatures } from './derived-features.ts';
import { createEvaluator } from './evaluate.ts';
import { unpackPlace } from './geography.ts';
import { type EntityPlan, type FeatureSet, idField } from './plan.ts';
import { type FeatureState, featureStates, newRows } from './rows.ts';
import type { InspectedSubState } from './store-reader.ts';
import { eventsThrough, type SubState } from './sub-state.ts';

/** What an entity's state says, for people. Times are milliseconds since the epoch. */
export interface EntityView {
  readonly partitions: readonly PartitionView[];
  /** The time that the features are of; undefined when none was asked for and no event is retained. */
  readonly at: number | undefined;
  readonly features: readonly FeatureView[];
  /** The newest events of all partitions that are retained one by one, newest first. */
  readonly events: readonly EventView[];
}

export interface PartitionView {
  /** "stream:partition" */
  readonly partition: string;
  /** The log offset (exclusive) of the last event that changed the state. */
  readonly offset: number;
  /** The log offset (exclusive) through which all is stored. */
  readonly fence: number | undefined;
  /** Retained, and the times of the oldest and the newest. */
  readonly events: number;
  /** How many of them are folded into panes. */
  readonly folded: number;
  readonly oldest: number | undefined;
  readonly newest: number | undefined;
  /** Time of the newest event that is not retained. */
  readonly droppedThrough: number | undefined;
  /** Labels whose transaction has not come. */
  readonly pendingLabels: number;
  readonly bytes: number;
}

export interface FeatureView {
  readonly name: string;
  readonly value: number;
  readonly state: FeatureState;
  /** Between what the true value lies, where it is approximate because panes are cut; null: no limit. */
  readonly bounds?: readonly (number | null)[];
}

export interface EventView {
  readonly time: number;
  readonly partition: string;
  /** By field: what is retained of it. Of texts that is a hash, in hexadecimal digits behind a #. */
  readonly facts: Readonly<Record<string, number | string>>;
  /** Filters that the event passes, of those that features ask for. */
  readonly passes: readonly string[];
}

const newestEvents = 10;

/**
 * Decodes what is stored of an entity and evaluates its features at a time, by default that of its newest event, as for an event that is
 * not one of the entity's: windows are (t - w, t], and what compares with the current event's own values has no data.
 * @param knownFrom since when the history of what the entity's windows read is known; -Infinity for ever.
 * @throws WeirError STORE when a sub-state is damaged.
 */
export function viewEntity(
  set: FeatureSet,
  plan: EntityPlan,
  stored: readonly InspectedSubState[],
  asked: number | undefined,
  knownFrom = Number.NEGATIVE_INFINITY,
): EntityView {
  const states = stored.map(({ bytes, partition, offset }) => decodeSubState(bytes, plan, partition, offset));
  const partitions = states.map((state, index) => partitionView(state, plan, stored[index]));
  const newest = Math.max(...partitions.map((partition) => partition.newest ?? Number.NEGATIVE_INFINITY));
  const at = asked ?? (newest === Number.NEGATIVE_INFINITY ? undefined : newest);
  return {
    partitions,
    at,
    features: at === undefined ? [] : featureViews(set, plan, states, at, knownFrom),
    events: states
      .flatMap((state) => eventViews(set, plan, state))
      .sort((a, b) => b.time - a.time)
      .slice(0, newestEvents),
  };
}

function partitionView(
  state: SubState,
  { stride }: EntityPlan,
  { partition, offset, fence, bytes }: InspectedSubState,
): PartitionView {
  const { rows, head, last, panes, pending } = state;
  const events = eventsThrough(state, last);
  const dropped = rows[head * stride];
  return {
    partition,
    offset,
    fence,
    events,
    folded: eventsThrough(state, head + panes.length),
    oldest: events === 0 ? undefined : (panes[0]?.first ?? rows[(head + 1) * stride]),
    newest: events === 0 ? undefined : rows[last * stride],
    droppedThrough: dropped === Number.NEGATIVE_INFINITY ? undefined : dropped,
    pendingLabels: pending.length,
    bytes: bytes.length,
  };
}

function featureViews(
  set: FeatureSet,
  plan: EntityPlan,
  states: readonly SubState[],
  at: number,
  knownFrom: number,
): FeatureView[] {
  const rows = newRows(set.names.length);
  rows.values = new Float64Array(set.names.length);
  rows.states = new Uint8Array(set.names.length);
  // No filter, no number and no text is there.
  const facts = new Float64Array(1 + plan.numbers.length + plan.hashes.length).fill(
    Number.NaN,
    1,
    1 + plan.numbers.length,
  );
  const moment = {
    time: at,
    own: undefined,
    insertion: 'kept' as const,
    isStale: false,
    seenBefore: Number.POSITIVE_INFINITY,
    toleranceMs: 0,
    knownFrom,
    facts,
  };
  createEvaluator(plan).evaluate(states, moment, rows, 0);
  derivedFeatures(set, rows, 0);
  return columnsOf(set, plan).map((column) => ({
    name: set.names[column],
    value: rows.values[column],
    state: featureStates[rows.states[column]],
    bounds: rows.bounds.get(column)?.map((end) => (Math.abs(end) < Number.MAX_VALUE ? end : null)),
  }));
}

/** The entity's features, and expressions that read nothing else. */
function columnsOf({ derived }: FeatureSet, plan: EntityPlan): number[] {
  const columns = new Set(plan.features.map(({ column }) => column));
  for (const { column, uses } of derived) if (uses.every((used) => columns.has(used))) columns.add(column);
  return [...columns].sort((a, b) => a - b);
}

function eventViews(set: FeatureSet, plan: EntityPlan, state: SubState): EventView[] {
  const { rows, last, head, panes, partition } = state;
  const views: EventView[] = [];
  for (let row = last; row > head + panes.length && views.length < newestEvents; row--) {
    const at = row * plan.stride;
    const facts: Record<string, number | string> = {};
    let column = at + 2;
    for (const { field, longitude } of plan.numbers) {
      const { name, scale } = set.layout.fields[field];
      if (longitude < 0) facts[name] = rows[column++] / 10 ** scale;
      else [facts[name], facts[set.layout.fields[longitude].name]] = unpackPlace(rows[column++]);
    }
    for (const field of plan.hashes) {
      const hash = rows[column++];
      const name = field === idField ? 'id' : set.layout.fields[field].name;
      if (hash !== 0) facts[name] = `#${hash.toString(16).padStart(12, '0')}`;
    }
    const passes = plan.predicates
      .filter((_, bit) => (rows[at + 1] & (1 << bit)) !== 0)
      .map((index) => set.predicates[index].text);
    views.push({ time: rows[at], partition, facts, passes });
  }
  return views;
}
