import { type Random, seededRandom } from '../runtime/random.ts';
import { day, hour, minute } from './calendar.ts';
import type { LabelledEvent, LabelType } from './labelled-event.ts';
import { chance, drawnFrom, logNormal, uniform } from './sampling.ts';
import { createSchedule } from './schedule.ts';
import type { Planned } from './spending.ts';
import { decimal, present, type SimulationOptions, simulatePurchases } from './stream.ts';
import { createWhereabouts, type Whereabouts } from './whereabouts.ts';

/** An event with its place in the stream, which may lie behind the event's own time. Milliseconds since the epoch. */
export interface Placed<T> {
  readonly time: number;
  readonly event: T;
}

/**
 * The transactions of `simulateTransactions` with the same options, with more about each, and what is said of them later: refunds,
 * chargebacks and fraud reports, in order of their place. Labels still under way when the transactions end follow them. Memory
 * depends on how many labels are under way, which is a few for each shopper.
 */
export function* simulateLabelled(options: SimulationOptions): Generator<Placed<LabelledEvent>, void, void> {
  const { market, purchases } = simulatePurchases(options);
  const whereabouts = createWhereabouts(options.seed, market);
  const scheduled = createSchedule<Placed<LabelledEvent>>();
  const label = createLabeller(options.seed, scheduled.add);
  function* dueBefore(time: number) {
    for (let due = scheduled.takeBefore(time); due !== undefined; due = scheduled.takeBefore(time)) yield due;
  }
  for (const { id, planned } of purchases) {
    yield* dueBefore(planned.time);
    const event = authorization(planned, id, whereabouts);
    const place = label(planned, event);
    if (place > planned.time) scheduled.add({ time: place, event });
    else yield { time: place, event };
  }
  yield* dueBefore(Number.POSITIVE_INFINITY);
}

function authorization(planned: Planned, id: string, whereabouts: Whereabouts): LabelledEvent {
  const { type, ts, outcome, card, account, terminal, device, ...rest } = present(planned, id);
  const email = whereabouts.emailOf(planned, id);
  // A merchant's own rules see online orders first, and stop some of what the bank would decline.
  const isBlocked =
    device !== undefined && outcome === 'declined' && drawnFrom(`${id} blocked`) < (rest.fraud ? 0.5 : 0.1);
  return {
    ...{ id, ts, type, card, account, terminal },
    ...(device === undefined ? {} : { device }),
    ...(email === undefined ? {} : { email }),
    location: whereabouts.locationOf(planned),
    ...{ amount: rest.amount, currency: rest.currency, entry: rest.entry },
    ...{ outcome: isBlocked ? 'blocked' : outcome, fraud: rest.fraud, fraud_kind: rest.fraud_kind },
  };
}

interface LabelKind {
  readonly type: LabelType;
  readonly prefix: string;
  /** How often a transaction gets one. */
  readonly share: (planned: Planned) => number;
  /** Median and spread of the time until then, and its bounds. */
  readonly delay: readonly [median: number, spread: number, least: number, most: number];
}

const kinds: readonly LabelKind[] = [
  {
    type: 'refund',
    prefix: 'r',
    share: ({ isDeclined, device }) => (isDeclined ? 0 : device === undefined ? 0.02 : 0.06),
    delay: [5 * day, 0.8, hour, 45 * day],
  },
  {
    type: 'fraud_report',
    prefix: 'f',
    share: ({ isDeclined, fraud }) => (fraud === 'none' ? 0.0005 : isDeclined ? 0.1 : 0.7),
    delay: [6 * day, 0.7, 2 * hour, 60 * day],
  },
  {
    type: 'chargeback',
    prefix: 'c',
    share: ({ isDeclined, fraud, device }) =>
      isDeclined ? 0 : fraud !== 'none' ? 0.6 : device === undefined ? 0.0003 : 0.002,
    delay: [20 * day, 0.5, day, 100 * day],
  },
];

/** Of labels: said before the transaction itself arrives, sent twice, said twice, and late in the stream. */
const earlyShare = 0.01;
const resentShare = 0.03;
const repeatedShare = 0.03;
const lateShare = 0.1;

type Schedule = (placed: Placed<LabelledEvent>) => void;

/** Schedules what will be said of a transaction. @returns the transaction's own place: a few arrive only after they are spoken of. */
function createLabeller(seed: number, schedule: Schedule): (planned: Planned, of: LabelledEvent) => number {
  const random = seededRandom(seed ^ 0x6c6162);
  let serial = 0;

  function say(kind: LabelKind, planned: Planned, of: LabelledEvent, time: number): number {
    const id = `${kind.prefix}-${seed}-${String(serial++).padStart(9, '0')}`;
    const event = labelEvent(kind.type, planned, of, id, Math.floor(time), random);
    const place = time + (chance(lateShare, random) ? random.exponential(20 * minute) : 0);
    schedule({ time: place, event });
    if (chance(resentShare, random)) schedule({ time: place + uniform(minute, 2 * day, random), event });
    return place;
  }

  return (planned, of) => {
    let place = planned.time;
    for (const kind of kinds) {
      if (!chance(kind.share(planned), random)) continue;
      if (chance(earlyShare, random)) {
        const said = say(kind, planned, of, planned.time + uniform(minute, hour, random));
        place = Math.max(place, said + uniform(0.5 * hour, 8 * hour, random));
      } else {
        const [median, spread, least, most] = kind.delay;
        const time = planned.time + Math.min(most, Math.max(least, logNormal(median, spread, random)));
        say(kind, planned, of, time);
        if (chance(repeatedShare, random)) say(kind, planned, of, time + random.exponential(3 * day));
      }
    }
    return place;
  };
}

function labelEvent(
  type: LabelType,
  { cents }: Planned,
  of: LabelledEvent,
  id: string,
  ts: number,
  random: Random,
): LabelledEvent {
  const { card, account, terminal, device, email, currency } = of;
  const isPartial = type === 'refund' && chance(0.3, random);
  return {
    ...{ id, ts, type, refers_to: of.id, card, account, terminal },
    ...(device === undefined ? {} : { device }),
    ...(email === undefined ? {} : { email }),
    amount: decimal(isPartial ? Math.max(1, Math.floor(cents * random.next())) : cents),
    currency,
  };
}

/** Some arrive late: their place is minutes to hours behind. Takes and gives events in order of their place. */
export function* delaySome<T>(
  placed: Iterable<Placed<T>>,
  share: number,
  seed: number,
): Generator<Placed<T>, void, void> {
  const random = seededRandom(seed ^ 0x6c617465);
  const delayed = createSchedule<Placed<T>>();
  for (const item of placed) {
    for (let due = delayed.takeBefore(item.time); due !== undefined; due = delayed.takeBefore(item.time)) yield due;
    if (!chance(share, random)) yield item;
    else delayed.add({ ...item, time: item.time + Math.min(12 * hour, minute + logNormal(25 * minute, 1.3, random)) });
  }
  for (let due = delayed.takeBefore(Infinity); due !== undefined; due = delayed.takeBefore(Infinity)) yield due;
}
