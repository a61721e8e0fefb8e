import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createSubStateWriter, decodeSubState } from '../../features/codec.ts';
import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import { compileFeatures } from '../../features/definition.ts';
import { createEvaluator } from '../../features/evaluate.ts';
import { textHash } from '../../features/hash.ts';
import type { EntityPlan, FeatureSet } from '../../features/plan.ts';
import { featureStates } from '../../features/rows.ts';
import { emptySubState, insertEvent, type SubState } from '../../features/sub-state.ts';

const second = 1000;
const day = 86_400_000;
const layout: EventLayout = {
  fields: [
    { name: 'amount', type: 'money', scale: 2, optional: false },
    { name: 'tip', type: 'money', scale: 2, optional: true },
    { name: 'fraud', type: 'flag', scale: 0, optional: false },
    { name: 'device', type: 'text', scale: 0, optional: true },
  ],
  entities: [{ name: 'card' }],
};
const aggregates = [
  'count',
  'sum(amount)',
  'mean(amount)',
  'min(amount)',
  'max(amount)',
  'stddev(amount)',
  'mean(tip)',
  'ratio(fraud)',
  'time-since-last',
  'is-new(device)',
];
const groups = [
  { entity: 'card', windows: ['1s', '10s', '1m'], aggregates, current: 'include' as const },
  { entity: 'card', windows: ['10s'], aggregates, current: 'exclude' as const },
  { entity: 'card', windows: ['10s', '30s'], delay: '20s', aggregates, current: 'include' as const },
  { entity: 'card', windows: ['10s', '30s'], where: 'fraud', aggregates, current: 'include' as const },
  {
    entity: 'card',
    windows: ['10s', '30s'],
    where: 'big',
    aggregates: ['count', 'sum(amount)', 'min(amount)'],
    current: 'include' as const,
  },
];
/** Retains no longer than the widest window: a delay would add to that. */
const undelayed = groups.filter((group) => group.delay === undefined);
const filters = { big: 'amount >= 5 and kind == "authorization"' };

interface Event {
  time: number;
  amount: number;
  tip: number;
  fraud: number;
  device: string;
}

function compile(allowedLatenessMs: number, of = groups): FeatureSet {
  const { set, faults } = compileFeatures(of, filters, layout, allowedLatenessMs);
  expect(faults).toEqual([]);
  return set!;
}

function columnsOf(events: readonly Event[]): TransactionBatch {
  return {
    count: events.length,
    ids: events.map((_, i) => String(i)),
    times: Float64Array.from(events, (event) => event.time),
    kinds: events.map(() => 'authorization'),
    unscored: new Uint8Array(events.length),
    refersTo: events.map(() => ''),
    offsets: Float64Array.from(events, (_, i) => i),
    rawIndexes: Int32Array.from(events, (_, i) => i),
    numbers: [
      Float64Array.from(events, (event) => event.amount),
      Float64Array.from(events, (event) => event.tip),
      Float64Array.from(events, (event) => event.fraud),
      new Float64Array(0),
    ],
    texts: [[], [], [], events.map((event) => event.device)],
    entityIds: [events.map(() => 'c')],
    sources: [],
  };
}

/** Each feature by its definition, over the plain list of all events so far. */
function bruteForce(name: string, log: readonly Event[], current: Event): number {
  const [, aggregate, ...rest] = name.split('.');
  const parse = (text: string) => Number.parseInt(text, 10) * (text.endsWith('m') ? 60 : 1) * second;
  const width = parse(rest.find((piece) => /^\d+[sm]$/.test(piece))!);
  const delay = parse(rest.find((piece) => piece.startsWith('delay-'))?.slice(6) ?? '0s');
  const skipsCurrent = rest.includes('exclude-current') || aggregate === 'time-since-last' || aggregate === 'is-new';
  const where =
    aggregate === 'ratio'
      ? (rest.slice(1).find((piece) => piece === 'fraud' || piece === 'big') ?? '')
      : (rest.find((piece) => piece === 'fraud' || piece === 'big') ?? '');
  let events = log.filter((event) => event.time > current.time - delay - width && event.time <= current.time - delay);
  if (skipsCurrent) events = events.filter((event) => event !== current);
  if (where === 'fraud') events = events.filter((event) => event.fraud === 1);
  if (where === 'big') events = events.filter((event) => event.amount >= 500);
  const field = rest[0] === 'tip' ? 'tip' : 'amount';
  const values = events.map((event) => event[field]).filter((value) => !Number.isNaN(value));
  const total = values.reduce((a, b) => a + BigInt(b), 0n);
  const sum = Number(total);
  switch (aggregate) {
    case 'count':
      return events.length;
    case 'sum':
      return sum / 100;
    case 'mean':
      return values.length === 0 ? 0 : sum / (values.length * 100);
    case 'min':
      return values.length === 0 ? 0 : Math.min(...values) / 100;
    case 'max':
      return values.length === 0 ? 0 : Math.max(...values) / 100;
    case 'stddev': {
      const n = BigInt(values.length);
      const squares = values.reduce((a, b) => a + BigInt(b) * BigInt(b), 0n);
      return values.length === 0 ? 0 : Math.sqrt(Number(n * squares - total * total)) / values.length / 100;
    }
    case 'ratio':
      return events.length === 0 ? 0 : events.filter((event) => event.fraud === 1).length / events.length;
    case 'time-since-last':
      return (events.length === 0 ? width : current.time - Math.max(...events.map((event) => event.time))) / 1000;
    case 'is-new':
      return current.device !== '' && !events.some((event) => event.device === current.device) ? 1 : 0;
    default:
      throw new Error(`no such aggregate ${aggregate}`);
  }
}

interface Step {
  event: Event;
  partition: number;
  reload: boolean;
}

/** Every feature after every event: [value, state] by row and column. */
type Evaluated = (readonly [number, string])[][];

/** Runs the events through sub-states, one per partition, each stored and loaded again wherever the steps say so. */
function evaluateAll(steps: readonly Step[], set: FeatureSet): Evaluated {
  const plan = set.entities[0];
  const evaluator = createEvaluator(plan);
  const batch = columnsOf(steps.map((step) => step.event));
  const masks = set.predicates.map((predicate) => {
    const out = new Uint8Array(batch.count);
    predicate.fill(batch, out);
    return out;
  });
  const subStates: SubState[] = [];
  return steps.map(({ event, partition, reload }, row) => {
    let at = subStates.findIndex((state) => state.partition === String(partition));
    if (at < 0) at = subStates.push(emptySubState(plan, String(partition))) - 1;
    if (reload) subStates[at] = reloaded(subStates[at], plan);
    const mask = plan.predicates.reduce((bits, predicate, bit) => bits | (masks[predicate][row] << bit), 0);
    const hash = event.device === '' ? 0 : textHash(event.device);
    const numbers = plan.numbers.map(({ field }) => batch.numbers[field][row] || 0);
    const facts = Float64Array.from([mask, ...numbers, ...plan.hashes.map(() => hash)]);
    const insertion = insertEvent(subStates[at], plan, event.time, facts);
    const own = insertion === 'kept' ? subStates[at] : undefined;
    const values = new Float64Array(set.names.length);
    const states = new Uint8Array(set.names.length);
    const moment = {
      time: event.time,
      own,
      insertion,
      isStale: false,
      seenBefore: Number.POSITIVE_INFINITY,
      toleranceMs: 0,
      knownFrom: Number.NEGATIVE_INFINITY,
      facts,
    };
    evaluator.evaluate(subStates, moment, { values, states, bounds: new Map() }, 0);
    return set.names.map((_, column) => [values[column], featureStates[states[column]]] as const);
  });
}

function reloaded(state: SubState, plan: EntityPlan): SubState {
  return decodeSubState(createSubStateWriter().encode(state, plan), plan, state.partition, state.offset);
}

/** Compares every value that claims to be exact with brute force. */
function check(steps: readonly Step[], set: FeatureSet, isExact: (state: string) => boolean) {
  const log: Event[] = [];
  for (const [row, features] of evaluateAll(steps, set).entries()) {
    const { event } = steps[row];
    log.push(event);
    for (const [column, [value, state]] of features.entries()) {
      const name = set.names[column];
      if (!isExact(state)) continue;
      const wanted = bruteForce(name, log, event);
      if (!Object.is(value + 0, wanted + 0)) {
        throw new Error(`row ${row}, ${name}: got ${value} (${state}), brute force says ${wanted}`);
      }
    }
  }
}

const claimsToBeExact = (state: string) => state === 'fresh' || state === 'absent';

const amounts = fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 0, max: 10 ** 12 }), fc.constant(0));
const stepArbitrary = fc.record({
  event: fc.record({
    gap: fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 0, max: 12 }) },
      { weight: 1, arbitrary: fc.integer({ min: -40, max: -1 }) },
    ),
    amount: amounts,
    tip: fc.oneof(fc.constant(Number.NaN), fc.integer({ min: 0, max: 500 })),
    fraud: fc.integer({ min: 0, max: 1 }),
    device: fc.constantFrom('', 'a', 'b', 'c'),
  }),
  partition: fc.integer({ min: 0, max: 2 }),
  reload: fc.boolean(),
});

/** Gaps in units of 500 ms, so that times fall on window edges and tie. */
function timeline(
  raw: readonly {
    event: { gap: number; amount: number; tip: number; fraud: number; device: string };
    partition: number;
    reload: boolean;
  }[],
  partitions: number,
): Step[] {
  let time = 1_700_000_000_000;
  return raw.map(({ event: { gap, ...fields }, partition, reload }) => {
    const at = time + gap * 500;
    time = Math.max(time, at);
    return { event: { time: at, ...fields }, partition: partition % partitions, reload };
  });
}

describe('window arithmetic', () => {
  it('equals brute force on one partition, with ties, late events, drops and reloads', () => {
    const set = compile(60 * second);
    fc.assert(
      fc.property(fc.array(stepArbitrary, { minLength: 1, maxLength: 120, size: 'max' }), (raw) =>
        check(timeline(raw, 1), set, claimsToBeExact),
      ),
      { numRuns: 100 },
    );
  });

  it('equals brute force over the whole log when the log is split over partitions', () => {
    const set = compile(60 * second);
    fc.assert(
      fc.property(fc.array(stepArbitrary, { minLength: 1, maxLength: 120, size: 'max' }), (raw) =>
        check(timeline(raw, 3), set, claimsToBeExact),
      ),
      { numRuns: 100 },
    );
  });

  it('marks nothing incomplete while events are late by no more than the allowed lateness', () => {
    const set = compile(60 * second);
    fc.assert(
      fc.property(fc.array(stepArbitrary, { minLength: 1, maxLength: 120, size: 'max' }), (raw) =>
        check(timeline(raw, 3), set, (state) => {
          if (state === 'incomplete') throw new Error('a value is marked incomplete');
          return true;
        }),
      ),
      { numRuns: 100 },
    );
  });

  it('keeps sums of squares exact beyond 2^53', () => {
    const set = compile(0);
    const steps = Array.from({ length: 40 }, (_, index) => ({
      event: { time: 1_700_000_000_000 + index * 100, amount: 10 ** 12 - index, tip: Number.NaN, fraud: 0, device: '' },
      partition: 0,
      reload: index % 7 === 0,
    }));
    check(steps, set, () => true);
  });

  /** Hours late without any allowance, and amounts whose sums and squares leave the exact integers. */
  const wildSteps = fc.array(
    fc.record({
      event: fc.record({
        gap: fc.oneof(
          { weight: 6, arbitrary: fc.integer({ min: 0, max: 30 }) },
          { weight: 2, arbitrary: fc.integer({ min: -400, max: -1 }) },
        ),
        amount: fc.oneof(
          amounts,
          { weight: 2, arbitrary: fc.constantFrom(2 ** 49, 2 ** 48 + 1) },
          fc.constantFrom(-(2 ** 49), -(10 ** 12)),
        ),
        tip: fc.oneof(fc.constant(Number.NaN), fc.integer({ min: 0, max: 500 })),
        fraud: fc.integer({ min: 0, max: 1 }),
        device: fc.constantFrom('', 'a', 'b'),
      }),
      partition: fc.integer({ min: 0, max: 2 }),
      reload: fc.boolean(),
    }),
    { minLength: 1, maxLength: 100, size: 'max' },
  );

  it('claims nothing to be exact that is not, however late and large', () => {
    const set = compile(0);
    fc.assert(
      fc.property(wildSteps, fc.integer({ min: 1, max: 3 }), (raw, partitions) =>
        check(timeline(raw, partitions), set, claimsToBeExact),
      ),
      { numRuns: 100 },
    );
  });

  it('gives the same values and states whether sub-states stay in memory or are stored and loaded', () => {
    const set = compile(5 * second);
    const reload = (steps: readonly Step[], when: (row: number) => boolean) =>
      evaluateAll(
        steps.map((step, row) => ({ ...step, reload: when(row) })),
        set,
      ).join('\n');
    fc.assert(
      fc.property(wildSteps, fc.integer({ min: 1, max: 40 }), (raw, every) => {
        const steps = timeline(raw, 2);
        const kept = reload(steps, () => false);
        expect(reload(steps, () => true)).toBe(kept);
        expect(reload(steps, (row) => row % every === 0)).toBe(kept);
      }),
      { numRuns: 60 },
    );
  });

  it('needs nothing of an event exactly at the edge of what is retained', () => {
    const set = compile(0, undelayed);
    const event = { amount: 100, tip: Number.NaN, fraud: 0, device: '' };
    const at = (ms: number) => ({ event: { time: day + ms, ...event }, partition: 0, reload: false });
    const count = set.names.indexOf('card.count.1m');
    const counts = (...times: number[]) => evaluateAll(times.map(at), set).map((features) => features[count]);
    expect(counts(0, 60_000)).toEqual([
      [1, 'fresh'],
      [1, 'fresh'],
    ]);
    expect(counts(0, 60_000, 59_999)).toContainEqual([1, 'incomplete']);
    expect(counts(0, 59_999)).toContainEqual([2, 'fresh']);
    // A late event whose shorter window begins at that edge.
    const late = evaluateAll([0, 60_000, 10_000].map(at), set)[2];
    expect(late[set.names.indexOf('card.count.10s')]).toEqual([1, 'fresh']);
    expect(late[count]).toEqual([1, 'incomplete']);
  });

  it('marks what an event that came too late would have been part of', () => {
    const set = compile(0, undelayed);
    const event = { amount: 100, tip: Number.NaN, fraud: 0, device: '' };
    const at = (seconds: number) => ({
      event: { time: day + seconds * second, ...event },
      partition: 0,
      reload: false,
    });
    // Retained are 60 s behind the newest event, at 100 s.
    const [, , late, ...later] = evaluateAll([at(0), at(100), at(40), at(45), at(50.5), at(60), at(100.001)], set);
    const count = set.names.indexOf('card.count.10s');
    expect(late[count]).toEqual([0, 'incomplete']);
    expect(later.map((features) => features[count])).toEqual([
      [1, 'incomplete'],
      [2, 'fresh'],
      [2, 'fresh'],
      [2, 'fresh'],
    ]);
  });

  it('retains as much longer as a partition may be ahead of those whose delayed windows read it', () => {
    const [plan] = compile(5 * second).entities;
    expect([plan.horizonMs, plan.leadMs, plan.retentionMs]).toEqual([60 * second, 20 * second, 85 * second]);
    expect(compile(5 * second, undelayed).entities[0].retentionMs).toBe(65 * second);
  });

  it('does not apply an event older than the retention, and says so', () => {
    const set = compile(0);
    const plan = set.entities[0];
    const state = emptySubState(plan, '0');
    const facts = new Float64Array(1 + plan.numbers.length + plan.hashes.length);
    expect(insertEvent(state, plan, day, facts)).toBe('kept');
    expect(insertEvent(state, plan, day - plan.retentionMs, facts)).toBe('late');
    expect(insertEvent(state, plan, day - plan.retentionMs + 1, facts)).toBe('kept');
    expect(state.last - state.head).toBe(2);
  });
});
