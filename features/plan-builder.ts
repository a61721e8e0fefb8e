import { crc32 } from 'node:zlib';
import {
  type Cumulative,
  type EntityPlan,
  idField,
  type LabelRule,
  type NumberFact,
  type Reading,
  type Span,
  type SummarySpec,
  type Walk,
  type WalkKind,
  type WindowFeature,
} from './plan.ts';

/** A window as a feature states it. Milliseconds. */
export interface Window {
  /** Infinity: all that ever was. */
  readonly widthMs: number;
  readonly delayMs: number;
  readonly excludeCurrent: boolean;
}

/** A retained fact, as a feature asks for it. */
export type Fact =
  | { readonly type: 'none' }
  | { readonly type: 'number'; readonly field: number }
  | { readonly type: 'place'; readonly field: number; readonly longitude: number }
  | { readonly type: 'text'; readonly field: number };

export const noFact: Fact = { type: 'none' };

/** Collects what the features of one entity need, each thing once, and lays the retained rows out. */
export interface PlanBuilder {
  /** Mask value of a predicate's bit; predicates are indexes into the feature set's. */
  bit(predicate: number): number;
  /** A label of the kind sets the bit in the row of its transaction, where the required bit is set (0: always). */
  label(rule: LabelRule): void;
  span(window: Window): number;
  count(span: number, bit: number): number;
  sum(span: number, field: number, bit: number): number;
  /** Index of the high limb's reading; the low limb's is the next one. */
  square(span: number, field: number, bit: number): number;
  /** Sum of the cosines of the times of day; the sines' is the next reading. Units of 2^-26. */
  circle(span: number, bit: number): number;
  /** Slot of the walk's answer. @param streakBit of kind streak: what goes on with it. */
  walk(span: number, kind: WalkKind, fact: Fact, bit: number, streakBit?: number): number;
  /** What panes are to keep of a fact: index for Cut. */
  summary(fact: Fact, bit: number, keepsValues: boolean): number;
  /** Gives the row position of the fact, once all is asked for. */
  position(fact: Fact): () => number;
  add(feature: WindowFeature): void;
  build(): EntityPlan;
}

export interface PlanLimits {
  readonly exactEvents: number;
  readonly idleMs: number;
}

type ColumnKind = 'rows' | 'count' | 'sum' | 'square' | 'low' | 'cosine' | 'sine';

interface Column {
  readonly kind: ColumnKind;
  readonly field: number;
  readonly bit: number;
}

/** Further apart than a week no partitions need to be to work at full pace; what is retained for it is memory. */
const longestLeadMs = 7 * 86_400_000;

/** Up to this many predicates an entity's mask holds: they are bits of a 32-bit integer. */
export const maxPredicates = 31;

/** Numbers that an answer of a walk has room for. */
const slotsPerAnswer = 2;

export function createPlanBuilder(
  entity: number,
  type: string,
  allowedLatenessMs: number,
  { exactEvents, idleMs }: PlanLimits,
): PlanBuilder {
  const predicates: number[] = [];
  const numbers: (NumberFact & { key: string })[] = [];
  const hashes: number[] = [];
  const cumulatives = new Map<string, Column>();
  const spans: (Window & { key: string })[] = [];
  const readings: { key: string; span: number; column: Column }[] = [];
  const walks: { key: string; kind: WalkKind; fact: Fact; bit: number; streakBit: number; span: number }[] = [];
  const summaries: { key: string; fact: Fact; bit: number; keepsValues: boolean }[] = [];
  const labels: (LabelRule & { key: string })[] = [];
  const features: WindowFeature[] = [];
  let horizonMs = 0;

  const unique = <T extends { key: string }>(list: T[], item: T): number => {
    const found = list.findIndex((other) => other.key === item.key);
    return found >= 0 ? found : list.push(item) - 1;
  };
  const keyOf = (fact: Fact) => Object.values(fact).join(' ');
  const retain = (fact: Fact) => {
    if (fact.type === 'text' && !hashes.includes(fact.field)) hashes.push(fact.field);
    if (fact.type === 'number') unique(numbers, { key: keyOf(fact), field: fact.field, longitude: -1 });
    if (fact.type === 'place') unique(numbers, { key: keyOf(fact), field: fact.field, longitude: fact.longitude });
  };
  const reading = (span: number, kind: ColumnKind, field: number, bit: number) => {
    if (kind !== 'rows' && kind !== 'low') cumulatives.set(`${kind} ${field} ${bit}`, { kind, field, bit });
    if (field >= 0) retain({ type: 'number', field });
    return unique(readings, { key: `${span} ${kind} ${field} ${bit}`, span, column: { kind, field, bit } });
  };

  function positionOf(fact: Fact): number {
    if (fact.type === 'none') return -1;
    if (fact.type === 'text') return 2 + numbers.length + hashes.indexOf(fact.field);
    return 2 + numbers.findIndex(({ key }) => key === keyOf(fact));
  }

  return {
    bit(predicate) {
      let position = predicates.indexOf(predicate);
      if (position < 0) position = predicates.push(predicate) - 1;
      return 2 ** position;
    },
    label: (rule) => {
      retain({ type: 'text', field: idField });
      unique(labels, { ...rule, key: Object.values(rule).join(' ') });
    },
    span(window) {
      const retainedMs = Number.isFinite(window.widthMs) ? window.widthMs : 0;
      horizonMs = Math.max(horizonMs, window.delayMs + retainedMs);
      // A delayed window never holds the current event.
      const excludeCurrent = window.excludeCurrent && window.delayMs === 0;
      return unique(spans, { ...window, excludeCurrent, key: `${window.widthMs} ${window.delayMs} ${excludeCurrent}` });
    },
    count: (span, bit) =>
      // Totals without end outlive the rows that they count.
      reading(span, bit === 0 && spans[span].widthMs !== Number.POSITIVE_INFINITY ? 'rows' : 'count', -1, bit),
    sum: (span, field, bit) => reading(span, 'sum', field, bit),
    square(span, field, bit) {
      const high = reading(span, 'square', field, bit);
      reading(span, 'low', field, bit);
      return high;
    },
    circle(span, bit) {
      const cosine = reading(span, 'cosine', -1, bit);
      reading(span, 'sine', -1, bit);
      return cosine;
    },
    walk(span, kind, fact, bit, streakBit = 0) {
      retain(fact);
      const key = `${span} ${kind} ${keyOf(fact)} ${bit} ${streakBit}`;
      return unique(walks, { key, kind, fact, bit, streakBit, span }) * slotsPerAnswer;
    },
    summary(fact, bit, keepsValues) {
      return unique(summaries, { key: `${keyOf(fact)} ${bit} ${keepsValues}`, fact, bit, keepsValues });
    },
    position(fact) {
      let at: number | undefined;
      return () => {
        at ??= positionOf(fact);
        return at;
      };
    },
    add: (feature) => features.push(feature),
    build() {
      const columns = new Map<string, Cumulative>();
      let stride = 2 + numbers.length + hashes.length;
      for (const [key, { kind, field, bit }] of cumulatives) {
        const numberAt = field < 0 ? -1 : positionOf({ type: 'number', field });
        columns.set(key, { kind: kind as Cumulative['kind'], at: stride, numberAt, bit });
        stride += kind === 'square' ? 2 : 1;
      }
      const columnAt = ({ kind, field, bit }: Column): number => {
        if (kind === 'rows') return -1;
        if (kind === 'low') return columns.get(`square ${field} ${bit}`)!.at + 1;
        return columns.get(`${kind} ${field} ${bit}`)!.at;
      };
      const bounds = [...new Set(spans.flatMap((span) => [span.delayMs, span.delayMs + span.widthMs]))].sort(
        (a, b) => a - b,
      );
      const built = spans.map(
        (span): Span => ({
          from: bounds.indexOf(span.delayMs + span.widthMs),
          to: bounds.indexOf(span.delayMs),
          excludeCurrent: span.excludeCurrent,
          widthMs: span.widthMs,
        }),
      );
      const delays = spans.map(({ delayMs }) => delayMs).filter((delayMs) => delayMs > 0);
      const leadMs = delays.length === 0 ? 0 : Math.min(longestLeadMs, ...delays);
      const retainedMs = horizonMs + allowedLatenessMs + leadMs;
      const hasTotals = spans.some(({ widthMs }) => widthMs === Number.POSITIVE_INFINITY);
      const joined = joinWalks();
      const kept = summaries.map(
        ({ fact, bit, keepsValues }): SummarySpec => ({ at: positionOf(fact), bit, keepsValues }),
      );
      return {
        entity,
        type,
        horizonMs,
        // The newest event is always retained.
        leadMs,
        retentionMs: Math.max(1, retainedMs),
        idleMs: hasTotals ? Math.max(idleMs, retainedMs) : Number.POSITIVE_INFINITY,
        exactEvents,
        stride,
        predicates,
        numbers: numbers.map(({ field, longitude }) => ({ field, longitude })),
        hashes,
        cumulatives: [...columns.values()],
        summaries: kept,
        foldedLayout: crc32(JSON.stringify([[...columns.values()], kept])),
        labels: labels.map(({ kind, bit, requires, transaction }) => ({ kind, bit, requires, transaction })),
        bounds,
        spans: built,
        readings: readings.map(({ span, column }): Reading => ({ span, at: columnAt(column) })),
        walks: joined,
        slots: walks.length * slotsPerAnswer,
        features,
      };

      /** Walks that differ in nothing but where their windows begin become one. */
      function joinWalks(): Walk[] {
        const groups = new Map<string, Walk & { rings: { from: number; span: number; slot: number }[] }>();
        for (const [index, { kind, fact, bit, streakBit, span }] of walks.entries()) {
          const { to, excludeCurrent, from } = built[span];
          const key = `${kind} ${keyOf(fact)} ${bit} ${streakBit} ${to} ${excludeCurrent}`;
          let group = groups.get(key);
          if (group === undefined) {
            const keepsValues = kind === 'seen' || kind === 'same' || kind === 'distinct' || kind === 'top';
            const summary = unique(summaries, { key: `${keyOf(fact)} ${bit} ${keepsValues}`, fact, bit, keepsValues });
            group = { kind, at: positionOf(fact), bit, streakBit, summary, to, excludeCurrent, rings: [] };
            groups.set(key, group);
          }
          group.rings.push({ from, span, slot: index * slotsPerAnswer });
        }
        for (const { rings } of groups.values()) rings.sort((a, b) => a.from - b.from);
        return [...groups.values()];
      }
    },
  };
}
