import { isDeepStrictEqual } from 'node:util';
import type { TopicRecord } from '../support/kafka.ts';
import type { Wanted, WantedOutput } from './brute-force.ts';
import type { Mode } from './trial.ts';

/** A risk event as the topic has it, with what is looked at. */
export interface Published {
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: number;
  /** By which subscribers tell a repetition. */
  readonly id: string;
  readonly data: {
    readonly transaction_id: string;
    readonly scored_at: string;
    readonly features: Readonly<Record<string, number>>;
    readonly feature_state: Readonly<Record<string, string>>;
  };
}

/** @param records of the topic of risk events. Gives each by its source position. */
export function readPublished(records: readonly TopicRecord[]): Published[] {
  return records.map(({ value, timestamp, headers }) => {
    const data = JSON.parse(value) as Published['data'] & { source_position: { partition: number; offset: number } };
    return { ...data.source_position, timestamp, id: headers.ce_id, data };
  });
}

/** By partition, the positions of events that may have been scored without the store: from the first on, before the second. */
export type Outage = ReadonlyMap<number, readonly [from: number, to: number]>;

const noOutage: Outage = new Map();
const delayedFeature = 'terminal.count.24h.delay-2d';

/**
 * What is wrong with the output, in sentences; empty: nothing.
 * @param outage where the job goes on without its store: what it marks as incomplete meanwhile is not compared.
 */
export function faultsOf(
  wanted: WantedOutput,
  published: readonly Published[],
  deadLetters: readonly TopicRecord[],
  mode: Mode,
  outage: Outage = noOutage,
): string[] {
  return [...eventFaults(wanted, published, mode, outage), ...letterFaults(wanted, deadLetters, mode)];
}

/** A feature of it says that it may lack something, so at most its bounds are looked at. */
export function isSkipped({ data: { feature_state } }: Published): boolean {
  return feature_state[delayedFeature] === 'stale' || Object.values(feature_state).includes('incomplete');
}

function* eventFaults(
  { events, repeats, haveKeysMoved }: WantedOutput,
  published: readonly Published[],
  mode: Mode,
  outage: Outage,
): Generator<string> {
  const first = new Map<string, Published>();
  const positions = new Map<string, string>();
  const reached = new Map<number, number>();
  for (const event of published) {
    const at = `${event.partition}:${event.offset}`;
    const position = positions.get(event.id) ?? at;
    if (position !== at) yield `the risk events for ${position} and ${at} have the same id`;
    positions.set(event.id, at);
    const wanted = events.get(at);
    const mayLack = isDuring(outage, event);
    const isNotRecognized = mayLack && event.data.transaction_id === repeats.get(at) && lacksTheCard(event);
    if (wanted === undefined && !isNotRecognized) {
      yield `there is a risk event for ${at}, which has no transaction, or a repeated one`;
      continue;
    }
    const before = first.get(at);
    if (before === undefined) {
      first.set(at, event);
      if (event.offset < (reached.get(event.partition) ?? 0)) yield `the risk event for ${at} comes too late`;
      reached.set(event.partition, event.offset);
    } else if (mode.delivery === 'exactly-once') yield `there are two risk events for ${at}`;
    else if (before.id !== event.id) yield `the risk events for ${at} have the ids ${before.id} and ${event.id}`;
    if (wanted === undefined) continue;
    if (before !== undefined && !isDeepStrictEqual(fixedPart(before, wanted), fixedPart(event, wanted)))
      yield `the risk events for ${at} differ: ${JSON.stringify(before.data)} and ${JSON.stringify(event.data)}`;
    yield* valueFaults(at, wanted, event, { haveKeysMoved, mayLack, isAligned: mode.isAligned });
    if (mode.isAligned) yield* delayedFaults(at, wanted, event);
  }
  for (const [at, { id }] of events) if (!first.has(at)) yield `there is no risk event for ${at}, transaction ${id}`;
}

function isDuring(outage: Outage, { partition, offset }: Published): boolean {
  const [from, to] = outage.get(partition) ?? [0, 0];
  return offset >= from && offset < to;
}

/** Nothing was known of its card, so it could not be told that it had been there before. */
function lacksTheCard({ data: { features, feature_state } }: Published): boolean {
  return Object.keys(features).every((name) => !name.startsWith('card.') || feature_state[name] === 'incomplete');
}

/** All of the event that follows from its own partition's log. */
function fixedPart({ data }: Published, { features }: Wanted): object {
  const fixed = Object.entries(data.features).filter(([name]) => name in features);
  return { ...data, features: Object.fromEntries(fixed), feature_state: undefined, scored_at: undefined };
}

interface Leeway {
  readonly haveKeysMoved: boolean;
  readonly isAligned: boolean;
  /** It may have been scored without the store. */
  readonly mayLack: boolean;
}

function* valueFaults(
  at: string,
  wanted: Wanted,
  { data }: Published,
  { haveKeysMoved, isAligned, mayLack }: Leeway,
): Generator<string> {
  if (data.transaction_id !== wanted.id) yield `the risk event for ${at} is of ${data.transaction_id}`;
  const isLacking = (name: string) => mayLack && data.feature_state[name] === 'incomplete';
  for (const [name, value] of Object.entries(wanted.features)) {
    if (isLacking(name)) continue;
    if (data.features[name] !== value) yield `${at}: ${name} is ${data.features[name]}, brute force says ${value}`;
    const state = data.feature_state[name] ?? 'fresh';
    // That no other partition has any of it is not known of an entity that does not key the topic; nor of cards, from a growth on.
    const isStale = state === 'stale' && (haveKeysMoved || !name.startsWith('card.'));
    if (state !== 'fresh' && state !== 'absent' && !isStale) yield `${at}: ${name} says that it is ${state}`;
  }
  for (const [name, [least, most]] of Object.entries(wanted.bounds)) {
    const value = data.features[name];
    // Partitions that are in step have not dropped what others of them still read.
    if (isAligned && data.feature_state[name] === 'incomplete') yield `${at}: ${name} says that it is incomplete`;
    if (!isLacking(name) && !(value >= least && value <= most))
      yield `${at}: ${name} is ${value}, not within ${least} to ${most}`;
  }
}

function* delayedFaults(at: string, { delayed }: Wanted, { data }: Published): Generator<string> {
  for (const [name, value] of Object.entries(delayed)) {
    if (data.feature_state[name] === 'stale' || data.features[name] === value) continue;
    yield `${at}: ${name} is ${data.features[name]} and not stale, brute force says ${value}`;
  }
}

function* letterFaults(
  { deadLetters }: WantedOutput,
  letters: readonly TopicRecord[],
  { delivery }: Mode,
): Generator<string> {
  const seen = new Set<string>();
  for (const { key, value, headers } of letters) {
    const at = `${headers['weir-partition']}:${headers['weir-offset']}`;
    const wanted = deadLetters.get(at);
    if (seen.has(at) && delivery === 'exactly-once') yield `there are two dead letters for ${at}`;
    seen.add(at);
    if (wanted === undefined)
      yield `there is a dead letter for ${at}, which is a transaction: ${headers['weir-message']}`;
    else if (headers['weir-reason'] !== wanted.reason)
      yield `the dead letter for ${at} says ${headers['weir-reason']} instead of ${wanted.reason}`;
    else if (key !== wanted.record.key || value !== wanted.record.value)
      yield `the dead letter for ${at} has other bytes`;
  }
  for (const at of deadLetters.keys()) if (!seen.has(at)) yield `there is no dead letter for ${at}`;
}
