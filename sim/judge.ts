import type { RiskEvent } from '../scoring/risk-event.ts';
import { bruteValue, type Feature, featuresOf, type JudgedLog, judgeLogs, type Transaction } from './brute-force.ts';
import type { FenceHistory } from './fence-history.ts';
import { deadTopic, epoch, inputTopic, latenessMs, scoredTopic } from './job.ts';
import { isVisible, type SentRecord, type SimulatedBroker } from './kafka/broker.ts';
import type { Settings } from './plan.ts';
import { Violation } from './violation.ts';

/** What happened in a run that the judgement depends on. */
export interface Evidence {
  readonly broker: SimulatedBroker;
  readonly settings: Settings;
  readonly fences: FenceHistory;
  /** By event id: each attempt to publish it, with when its batch was read; virtual milliseconds. */
  readonly attempts: ReadonlyMap<string, readonly Attempt[]>;
  /** By partition: stretches of the log that are to be published, one after the other; an operator begins new ones. */
  readonly stretches: ReadonlyMap<number, readonly Stretch[]>;
  /** Keys may have come from other partitions. */
  readonly hasGrown: boolean;
  /** The topic has grown before the group had a position, so that no later process can know. */
  readonly hasGrownUnseen: boolean;
  /** Whether some log was cut: only then may features be incomplete. */
  readonly hasTruncated: boolean;
  /** By partition: what was deleted before it was published; some of it may have been read by then. */
  readonly deletedUnread: ReadonlyMap<number, readonly Stretch[]>;
  /** By partition: how many records were counted as lost. */
  readonly countedLost: ReadonlyMap<number, number>;
  /** Ids of the events at the end, when one process has everything and nothing moves. */
  readonly probes: ReadonlySet<string>;
}

export interface Attempt {
  readonly readAt: number;
  readonly publishedAt: number;
  /** The process had seen the topic with fewer partitions. */
  readonly hasSeenGrowth: boolean;
  /** The process scored a partition without the store. */
  readonly isDegraded: boolean;
}

export interface Stretch {
  readonly from: number;
  readonly to: number;
}

interface Published {
  readonly offset: number;
  readonly event: RiskEvent;
}

/** @throws Violation for the first thing that does not hold. */
export function judge(evidence: Evidence): void {
  const { broker, settings } = evidence;
  const visible = (topic: string) => broker.outputs.get(topic)!.partitions.map(({ entries }) => visibleOf(entries));
  const scored = visible(scoredTopic).map((records, partition) =>
    records.map((record) => readEvent(record, partition, broker)),
  );
  const letters = visible(deadTopic).map((records, partition) =>
    records.map((record) => readLetter(record, partition, broker)),
  );
  const done = scored.map(
    (events, partition) => new Set([...events.map(({ offset }) => offset), ...letters[partition]]),
  );
  const isLost = (partition: number, offset: number) =>
    isDeletedUnread(partition, offset, evidence) && !done[partition].has(offset);
  const logs = judgeLogs(broker.input, settings.isDeduplicating, isLost);
  for (const [partition, log] of logs.entries()) {
    judgeLoss(partition, log, evidence);
    const repeats = new Set(log.repeats.map(({ offset }) => offset));
    const published = scored[partition].filter(
      ({ offset, event }) => !(repeats.has(offset) && mayBeUnrecognised(event, evidence)),
    );
    const offsets = log.transactions.filter((one) => !one.isLost).map(({ offset }) => offset);
    judgeOrder(
      `events of ${partition}`,
      published.map(({ offset }) => offset),
      offsets,
      partition,
      evidence,
    );
    judgeOrder(`dead letters of ${partition}`, letters[partition], log.corrupt, partition, evidence);
    judgeFeatures(published, log, logs, evidence);
  }
}

function isDeletedUnread(partition: number, offset: number, { deletedUnread }: Evidence): boolean {
  return deletedUnread.get(partition)?.some(({ from, to }) => offset >= from && offset < to) ?? false;
}

/**
 * What was never read, and no operator passed over, is counted: more than once where it is found out again before anything that came behind
 * was published.
 */
function judgeLoss(
  partition: number,
  { transactions }: JudgedLog,
  { countedLost, deletedUnread, stretches }: Evidence,
): void {
  const counted = countedLost.get(partition) ?? 0;
  const isAsked = (offset: number) => stretches.get(partition)?.some(({ from, to }) => offset >= from && offset < to);
  const least = transactions.filter(({ isLost, offset }) => isLost && isAsked(offset)).length;
  if (counted < least)
    throw new Violation('lost', `${least} records of ${partition} were never read, ${counted} counted`);
  if (counted > 0 && !deletedUnread.has(partition)) {
    throw new Violation('lost', `${counted} records of ${partition} are counted as lost, and all were read`);
  }
}

/** What repeats an earlier one cannot be told where that is deleted and the state is made anew, or without the store, which is marked. */
function mayBeUnrecognised(event: RiskEvent, evidence: Evidence): boolean {
  const isMarked = featuresOf(evidence.settings).every(({ name }) => event.feature_state[name] === 'incomplete');
  return evidence.hasTruncated || (isMarked && wasDegraded(event, evidence));
}

function wasDegraded({ source_position: { partition, offset } }: RiskEvent, { attempts }: Evidence): boolean {
  return attempts.get(`${inputTopic}:${partition}:${offset}`)?.some(({ isDegraded }) => isDegraded) ?? false;
}

function visibleOf(entries: readonly (SentRecord | undefined)[]): SentRecord[] {
  return entries.filter((entry) => entry !== undefined).filter(isVisible);
}

function readEvent({ key, value, headers }: SentRecord, partition: number, { input }: SimulatedBroker): Published {
  const event = JSON.parse(String(value)) as RiskEvent;
  const { offset } = event.source_position;
  const source = input.partitions[partition].entries[offset];
  if (
    event.source_position.partition !== partition ||
    headers.get('ce_id') !== `${inputTopic}:${partition}:${offset}`
  ) {
    throw new Violation('I11', `the event ${headers.get('ce_id')} lies in partition ${partition}`);
  }
  if (source === undefined || !key?.equals(source.key)) {
    throw new Violation('I11', `the event ${headers.get('ce_id')} has another key than its record`);
  }
  return { offset, event };
}

/** @returns the offset of the record. */
function readLetter({ value, headers }: SentRecord, partition: number, { input }: SimulatedBroker): number {
  const offset = Number(headers.get('weir-offset'));
  const source = input.partitions[partition].entries[offset];
  const isSame = source !== undefined && (source.value === null ? value === null : value?.equals(source.value));
  if (!isSame || headers.get('weir-partition') !== String(partition)) {
    throw new Violation('I12', `the dead letter of ${partition}:${offset} is not its record`);
  }
  return offset;
}

/** Exactly once: as many as there are, in order. At least once: the same, with repetitions left out. */
function judgeOrder(
  what: string,
  published: readonly number[],
  all: readonly number[],
  partition: number,
  evidence: Evidence,
): void {
  const { stretches, settings } = evidence;
  const expected = (stretches.get(partition) ?? []).flatMap(({ from, to }) =>
    all.filter((offset) => offset >= from && offset < to),
  );
  const isOnce = settings.delivery === 'exactly-once';
  const wanted = isOnce ? expected : firstOnes(expected);
  const isDeleted = (offset: number) => isDeletedUnread(partition, offset, evidence);
  // What was sent and not committed yet when an operator set the position stays beside. So does what a former owner still had in memory
  // when it was deleted.
  const found = isOnce
    ? published
    : firstOnes(published).filter((offset) => wanted.includes(offset) && !isDeleted(offset));
  let at = 0;
  const missing = wanted.find((offset) => {
    if (found[at] !== offset) return !isDeleted(offset);
    at++;
    return false;
  });
  if (missing === undefined && at === found.length) return;
  throw new Violation(
    'I1',
    `${what}: number ${at} is ${found[at] ?? 'missing'}, expected ${missing ?? 'none'} (${found.length} of ${wanted.length})`,
  );
}

function firstOnes(offsets: readonly number[]): number[] {
  return [...new Set(offsets)];
}

/** How often each offset was published. */
function countsOf(published: readonly Published[]): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const { offset } of published) counts.set(offset, (counts.get(offset) ?? 0) + 1);
  return counts;
}

function judgeFeatures(
  published: readonly Published[],
  log: JudgedLog,
  logs: readonly JudgedLog[],
  evidence: Evidence,
): void {
  const counts = countsOf(published);
  const byOffset = new Map(log.transactions.map((transaction) => [transaction.offset, transaction]));
  for (const { offset, event } of published) {
    const current = byOffset.get(offset)!;
    const before = log.transactions.filter((one) => one.offset < offset);
    const elsewhere = logs.filter((other) => other !== log);
    const others = elsewhere.flatMap(({ transactions }) => transactions);
    // What they repeat may be deleted: then nobody can tell.
    const doubtful = evidence.hasTruncated ? elsewhere.flatMap(({ repeats }) => repeats) : [];
    // Who has lost the partition and does not know yet repeats events, if it may, with what it knew of other partitions then.
    const isRepeated = counts.get(offset)! > 1;
    for (const feature of featuresOf(evidence.settings))
      judgeFeature(feature, event, current, { before, others, doubtful, isRepeated }, evidence);
  }
}

/** What an event's features may have counted. */
interface Circumstances {
  /** Those of its own partition before it. */
  readonly before: readonly Transaction[];
  /** Those of other partitions. */
  readonly others: readonly Transaction[];
  /** Repetitions that may have been taken for new ones there. */
  readonly doubtful: readonly Transaction[];
  /** It was published more than once. */
  readonly isRepeated: boolean;
}

function judgeFeature(
  feature: Feature,
  event: RiskEvent,
  current: Transaction,
  { before, others, doubtful, isRepeated }: Circumstances,
  evidence: Evidence,
): void {
  const { name, entity } = feature;
  const value = event.features[name];
  const state: string = event.feature_state[name] ?? 'fresh';
  const where = `${name} of ${current.partition}:${current.offset}`;
  if (state === 'incomplete' && (evidence.hasTruncated || wasDegraded(event, evidence))) return;
  if (state === 'incomplete' && evidence.settings.areShopsDelayed && isFarBehind(feature, event, current, others))
    return;
  if (state !== 'fresh' && state !== 'absent' && state !== 'stale') {
    throw new Violation('I17', `${where} is ${state}`);
  }
  // Nor can it know what was deleted from the old log of a key that has moved.
  if (entity === 'card' && evidence.hasGrownUnseen && evidence.hasTruncated) return;
  if (entity === 'card' && !evidence.hasGrown) {
    assertValue(where, value, bruteValue(feature, current, before), state);
    return;
  }
  const scoredAt = Date.parse(event.scored_at) - epoch;
  const isProbe = evidence.probes.has(event.transaction_id);
  if (isProbe && state === 'stale') throw new Violation('I2', `${where} is stale although nothing moves`);
  const possibly = others.filter((one) => one.appendedAt <= scoredAt);
  // Windows that end so long ago are waited for.
  const isAwaited = feature.delayMs > 0 && state !== 'stale';
  const seen = isRepeated ? [] : isAwaited ? possibly : surelySeen(entity, current, event, state, others, evidence);
  // What is deleted from its log may be lost from the store as well; others hear of that a little later.
  const surely = isProbe ? seen : seen.filter(isStillInLog(evidence.broker));
  const least = bruteValue(feature, current, [...before, ...surely]);
  const most = bruteValue(feature, current, [...before, ...possibly, ...doubtful]);
  if (value < least - 1e-9 || value > most + 1e-9) {
    throw new Violation('I2', `${where} is ${value} (${state}), not between ${least} and ${most}`);
  }
}

/** The live edge waits for nobody, and forgets what only those far behind it would read. */
function isFarBehind(
  { entity, delayMs }: Feature,
  event: RiskEvent,
  current: Transaction,
  others: readonly Transaction[],
): boolean {
  const scoredAt = Date.parse(event.scored_at) - epoch;
  const keptThrough = current.time + delayMs + latenessMs;
  return others.some((one) => one.appendedAt <= scoredAt && one[entity] === current[entity] && one.time > keptThrough);
}

function assertValue(where: string, value: number, expected: number, state: string): void {
  if (value !== expected) throw new Violation('I2', `${where} is ${value} (${state}), by brute force ${expected}`);
}

function isStillInLog({ input }: SimulatedBroker): (one: Transaction) => boolean {
  return ({ partition, offset }) => offset >= input.partitions[partition].earliest;
}

/** What of the others must be in it, unless it says that something is missing. */
function surelySeen(
  entity: Feature['entity'],
  current: Transaction,
  event: RiskEvent,
  state: string,
  others: readonly Transaction[],
  evidence: Evidence,
): readonly Transaction[] {
  const scoredAt = Date.parse(event.scored_at) - epoch;
  if (evidence.probes.has(event.transaction_id)) return others.filter((one) => one.appendedAt <= scoredAt);
  return state === 'stale' ? [] : storedBefore(entity, current, scoredAt, others, evidence);
}

/** A copy of others' state is read anew when it is older than the refresh interval: what was stored before that, and ever since, is seen. */
function storedBefore(
  entity: Feature['entity'],
  { partition, offset }: Transaction,
  scoredAt: number,
  others: readonly Transaction[],
  { attempts, fences, settings, hasGrownUnseen }: Evidence,
): Transaction[] {
  const id = `${inputTopic}:${partition}:${offset}`;
  const mine = (attempts.get(id) ?? []).filter(
    ({ readAt, publishedAt }) => Math.floor(readAt) <= scoredAt && scoredAt <= publishedAt,
  );
  // Who cannot know takes no key for moved until it meets what another partition has of one.
  if (entity === 'card' && hasGrownUnseen && !mine.every(({ hasSeenGrowth }) => hasSeenGrowth)) return [];
  const readAt = Math.min(...mine.map((attempt) => attempt.readAt));
  if (!Number.isFinite(readAt)) return [];
  const stored = (of: number) => fences.storedBetween(of, readAt - settings.refreshMs - 1, scoredAt + 1);
  return others.filter((other) => other.offset < stored(other.partition));
}
