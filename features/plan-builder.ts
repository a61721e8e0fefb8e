import type { Cumulative, EntityPlan, Reading, Scan, Span, WindowFeature } from './plan.ts';

/** A window as a feature states it. Milliseconds. */
export interface Window {
  readonly widthMs: number;
  readonly delayMs: number;
  readonly excludeCurrent: boolean;
}

/** Collects what the features of one entity need, each thing once, and lays the retained rows out. */
export interface PlanBuilder {
  /** Mask value of a predicate's bit; predicates are indexes into the feature set's. */
  bit(predicate: number): number;
  span(window: Window): number;
  count(span: number, bit: number): number;
  sum(span: number, field: number, bit: number): number;
  /** Index of the high limb's reading; the low limb's is the next one. */
  square(span: number, field: number, bit: number): number;
  extreme(span: number, kind: 'min' | 'max', field: number, bit: number): number;
  lastTime(span: number, bit: number): number;
  seen(span: number, field: number, bit: number): number;
  add(feature: WindowFeature): void;
  build(): EntityPlan;
}

type Wanted<T> = Omit<T, 'at'> & {
  readonly column: {
    readonly kind: 'rows' | 'count' | 'sum' | 'square' | 'low' | 'number' | 'hash';
    readonly field: number;
    readonly bit: number;
  };
};

/** Up to this many predicates an entity's mask holds: they are bits of a 32-bit integer. */
export const maxPredicates = 31;

export function createPlanBuilder(entity: number, type: string, allowedLatenessMs: number): PlanBuilder {
  const predicates: number[] = [];
  const numbers: number[] = [];
  const hashes: number[] = [];
  const cumulatives = new Map<string, { kind: Cumulative['kind']; field: number; bit: number }>();
  const spans: (Window & { key: string })[] = [];
  const readings: (Wanted<Reading> & { key: string })[] = [];
  const scans: (Wanted<Scan> & { key: string })[] = [];
  const features: WindowFeature[] = [];
  let horizonMs = 0;

  const unique = <T extends { key: string }>(list: T[], item: T): number => {
    const found = list.findIndex((other) => other.key === item.key);
    return found >= 0 ? found : list.push(item) - 1;
  };
  const retain = (list: number[], field: number) => {
    if (!list.includes(field)) list.push(field);
  };
  const reading = (span: number, kind: 'rows' | 'count' | 'sum' | 'square' | 'low', field: number, bit: number) => {
    if (kind === 'count' || kind === 'sum' || kind === 'square')
      cumulatives.set(`${kind} ${field} ${bit}`, { kind, field, bit });
    if (field >= 0) retain(numbers, field);
    return unique(readings, { key: `${span} ${kind} ${field} ${bit}`, span, column: { kind, field, bit } });
  };

  return {
    bit(predicate) {
      let position = predicates.indexOf(predicate);
      if (position < 0) position = predicates.push(predicate) - 1;
      return 2 ** position;
    },
    span(window) {
      horizonMs = Math.max(horizonMs, window.delayMs + window.widthMs);
      // A delayed window never holds the current event.
      const excludeCurrent = window.excludeCurrent && window.delayMs === 0;
      return unique(spans, { ...window, excludeCurrent, key: `${window.widthMs} ${window.delayMs} ${excludeCurrent}` });
    },
    count: (span, bit) => reading(span, bit === 0 ? 'rows' : 'count', -1, bit),
    sum: (span, field, bit) => reading(span, 'sum', field, bit),
    square(span, field, bit) {
      const high = reading(span, 'square', field, bit);
      reading(span, 'low', field, bit);
      return high;
    },
    extreme(span, kind, field, bit) {
      retain(numbers, field);
      return unique(scans, {
        key: `${span} ${kind} ${field} ${bit}`,
        span,
        kind,
        bit,
        field: -1,
        column: { kind: 'number', field, bit },
      });
    },
    lastTime: (span, bit) =>
      unique(scans, {
        key: `${span} last ${bit}`,
        span,
        kind: 'last-time',
        bit,
        field: -1,
        column: { kind: 'rows', field: -1, bit },
      }),
    seen(span, field, bit) {
      retain(hashes, field);
      return unique(scans, {
        key: `${span} seen ${field} ${bit}`,
        span,
        kind: 'seen',
        bit,
        field,
        column: { kind: 'hash', field, bit },
      });
    },
    add: (feature) => features.push(feature),
    build() {
      const firstCumulative = 2 + numbers.length + hashes.length;
      const columns = new Map<string, Cumulative>();
      let stride = firstCumulative;
      for (const [key, { kind, field, bit }] of cumulatives) {
        columns.set(key, { kind, at: stride, numberAt: field < 0 ? -1 : 2 + numbers.indexOf(field), bit });
        stride += kind === 'square' ? 2 : 1;
      }
      const position = ({ kind, field, bit }: Wanted<Reading>['column']): number => {
        if (kind === 'rows') return -1;
        if (kind === 'number') return 2 + numbers.indexOf(field);
        if (kind === 'hash') return 2 + numbers.length + hashes.indexOf(field);
        if (kind === 'low') return columns.get(`square ${field} ${bit}`)!.at + 1;
        return columns.get(`${kind} ${field} ${bit}`)!.at;
      };
      const bounds = [...new Set(spans.flatMap((span) => [span.delayMs, span.delayMs + span.widthMs]))].sort(
        (a, b) => a - b,
      );
      return {
        entity,
        type,
        horizonMs,
        retentionMs: horizonMs + allowedLatenessMs,
        stride,
        predicates,
        numbers,
        hashes,
        cumulatives: [...columns.values()],
        bounds,
        spans: spans.map(
          (span): Span => ({
            from: bounds.indexOf(span.delayMs + span.widthMs),
            to: bounds.indexOf(span.delayMs),
            excludeCurrent: span.excludeCurrent,
            widthMs: span.widthMs,
          }),
        ),
        readings: readings.map(({ span, column }) => ({ span, at: position(column) })),
        scans: scans.map(({ span, kind, bit, field, column }) => ({ span, kind, bit, field, at: position(column) })),
        features,
      };
    },
  };
}
