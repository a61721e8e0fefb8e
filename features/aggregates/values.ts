import type { WalkKind } from '../plan.ts';
import { type Fact, noFact } from '../plan-builder.ts';
import type { Aggregate, AggregateRequest, Planned } from './aggregate.ts';

const walked = "a look at each of the window's events";

/** The argument as a retained fact. */
function factOf({ fields, isText }: AggregateRequest): Fact {
  return { type: isText ? 'text' : 'number', field: fields[0] };
}

function extreme(kind: 'min' | 'max', word: string): Aggregate {
  return {
    name: kind,
    arguments: ['number'],
    meaning: (events, field) => `the ${word} ${field} of ${events}, in major units`,
    noData: '0, absent',
    exactness: 'exact; by panes between its bounds',
    retains: "the field's value",
    cost: walked,
    example: `${kind}(amount)`,
    plan(request) {
      const { builder, span, bit, divisors } = request;
      const fact = factOf(request);
      const slot = builder.walk(span, kind, fact, bit);
      const summary = builder.summary(fact, bit, false);
      const [divisor] = divisors;
      return {
        compute: {
          noData: 0,
          value: ({ walked }) => (Number.isFinite(walked[slot]) ? walked[slot] / divisor : Number.NaN),
          bounds(inner, outer, cut) {
            const certain = inner.walked[slot];
            // Without any event for certain, it is that of some events in cut panes, or there is none.
            const ends = Number.isFinite(certain)
              ? [certain, outer.walked[slot]]
              : [0, cut.least(span, summary), cut.greatest(span, summary)];
            return [Math.min(...ends) / divisor, Math.max(...ends) / divisor];
          },
        },
      };
    },
  };
}

export const min = extreme('min', 'least');
export const max = extreme('max', 'greatest');

function atEnd(kind: 'first' | 'last', word: string): Aggregate {
  return {
    name: kind,
    arguments: ['number'],
    meaning: (events, field) => `the ${field} of the ${word} of ${events}, in major units`,
    notes: 'Of several at the same time the greatest.',
    noData: '0, absent',
    exactness: 'exact; by panes between its bounds',
    retains: "the field's value",
    cost: kind === 'last' ? 'back to the newest event that counts' : 'on to the oldest event that counts',
    example: `${kind}(amount)`,
    excludesCurrent: true,
    plan(request) {
      const { builder, span, bit, divisors } = request;
      const fact = factOf(request);
      const slot = builder.walk(span, kind, fact, bit);
      const summary = builder.summary(fact, bit, false);
      const [divisor] = divisors;
      const value = (walked: Float64Array) => (Number.isFinite(walked[slot]) ? walked[slot + 1] / divisor : Number.NaN);
      return {
        compute: {
          noData: 0,
          value: ({ walked }) => value(walked),
          bounds(inner, outer, cut) {
            const known = [value(inner.walked), value(outer.walked)].map((of) => (Number.isNaN(of) ? 0 : of));
            return [
              Math.min(...known, cut.least(span, summary) / divisor),
              Math.max(...known, cut.greatest(span, summary) / divisor),
            ];
          },
        },
      };
    },
  };
}

export const first = atEnd('first', 'oldest');
export const last = atEnd('last', 'newest');

function timeSince(name: string, kind: 'first' | 'last', word: string, noData: string): Aggregate {
  return {
    name,
    arguments: [],
    meaning: (events) => `the seconds since the ${word} of ${events}`,
    noData: `${noData}, absent`,
    exactness: 'exact to the millisecond; by panes between its bounds',
    retains: 'nothing',
    cost: kind === 'last' ? 'back to the newest event that counts' : 'on to the oldest event that counts',
    example: name,
    excludesCurrent: true,
    plan({ builder, span, bit, widthMs, delayMs }) {
      const slot = builder.walk(span, kind, noFact, bit);
      const without = kind === 'last' && Number.isFinite(widthMs) ? widthMs / 1000 : 0;
      return {
        compute: {
          noData: without,
          value: ({ walked, time }) => (Number.isFinite(walked[slot]) ? (time - walked[slot]) / 1000 : Number.NaN),
          bounds({ walked, time }, outer) {
            // Without any event for certain, it is some time in the window, or there is none.
            if (!Number.isFinite(walked[slot])) return [0, Math.min(Number.MAX_VALUE, (widthMs + delayMs) / 1000)];
            const ends = [(time - walked[slot]) / 1000, (time - outer.walked[slot]) / 1000];
            return [Math.min(...ends), Math.max(...ends)];
          },
        },
      };
    },
  };
}

export const timeSinceLast = timeSince('time-since-last', 'last', 'newest', "the window's width in seconds (`all`: 0)");
export const timeSinceFirst = timeSince('time-since-first', 'first', 'oldest', '0');

function sameValue(
  name: string,
  kind: 'seen' | 'same',
  about: Pick<Aggregate, 'meaning' | 'noData' | 'cost' | 'example'>,
  value: (found: number) => number,
): Aggregate {
  return {
    name,
    arguments: [kind === 'seen' ? 'text' : 'value'],
    ...about,
    exactness: 'exact but for hashes of 48 bits that are equal by chance; by panes between its bounds',
    retains: "6 bytes of the text's hash, or the number",
    excludesCurrent: true,
    plan(request) {
      const { builder, span, bit, isText } = request;
      const fact = factOf(request);
      const slot = builder.walk(span, kind, fact, bit);
      const position = builder.position(fact);
      const present = isText ? 0 : request.present(0);
      return {
        slot,
        compute: {
          noData: 0,
          value({ walked, facts }) {
            const own = facts[position() - 1];
            const has = isText ? own !== 0 : !Number.isNaN(own) && (present === 0 || (facts[0] & present) !== 0);
            return has ? value(walked[slot]) : Number.NaN;
          },
        },
      };
    },
  };
}

export const isNew = sameValue(
  'is-new',
  'seen',
  {
    meaning: (events, field) => `1 when none of ${events} has the current event's ${field}, else 0`,
    noData: '0, absent: the event has no text there',
    cost: walked,
    example: 'is-new(device)',
  },
  (found) => (found === 0 ? 1 : 0),
);

export const sameCount = sameValue(
  'same-count',
  'same',
  {
    meaning: (events, field) => `how many of ${events} have the current event's ${field}`,
    noData: '0, absent: the event has no value there',
    cost: walked,
    example: 'same-count(amount)',
  },
  (found) => found,
);

function differing(
  name: string,
  kind: WalkKind,
  about: Pick<Aggregate, 'meaning' | 'noData' | 'example'>,
  finish: (slot: number) => Planned['compute'],
): Aggregate {
  return {
    name,
    arguments: ['value'],
    ...about,
    exactness:
      'exact to 1,000 different values, then saturated; but for hashes of 48 bits that are equal by chance; by panes between its bounds',
    retains: "6 bytes of the text's hash, or the number",
    cost: walked,
    plan(request) {
      const { builder, span, bit } = request;
      const slot = builder.walk(span, kind, factOf(request), bit);
      return { slot, compute: finish(slot) };
    },
  };
}

export const distinct = differing(
  'distinct',
  'distinct',
  {
    meaning: (events, field) => `how many different values of ${field} there are among ${events}`,
    noData: '0',
    example: 'distinct(merchant)',
  },
  (slot) => ({ noData: 0, value: ({ walked }) => walked[slot] }),
);

export const topShare = differing(
  'top-share',
  'top',
  {
    meaning: (events, field) => `the share of ${events} that have the most frequent value of ${field}`,
    noData: '0, absent',
    example: 'top-share(merchant)',
  },
  (slot) => ({
    noData: 0,
    value: ({ walked }) => (walked[slot + 1] === 0 ? Number.NaN : walked[slot] / walked[slot + 1]),
    bounds: () => [0, 1],
  }),
);
