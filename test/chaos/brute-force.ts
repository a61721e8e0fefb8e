import type { TopicRecord } from '../support/kafka.ts';

/** What must come out for a record of the input. */
export interface Wanted {
  readonly id: string;
  readonly features: Readonly<Record<string, number>>;
  /** Delayed features of entities that partitions share, as they are when the partitions keep in step. */
  readonly delayed: Readonly<Record<string, number>>;
  /** All features of theirs: what they may be while the partitions read at their own paces. */
  readonly bounds: Readonly<Record<string, readonly [least: number, most: number]>>;
}

export interface WantedOutput {
  /** By `partition:offset` of the input. */
  readonly events: ReadonlyMap<string, Wanted>;
  /** Dead letters: reason and record by `partition:offset`. */
  readonly deadLetters: ReadonlyMap<string, { readonly reason: string; readonly record: TopicRecord }>;
  /** Ids of transactions that came a second time, by `partition:offset` of that. */
  readonly repeats: ReadonlyMap<string, string>;
  /** Some card has transactions in two partitions: the topic has grown. */
  readonly haveKeysMoved: boolean;
}

interface Event {
  readonly id: string;
  readonly partition: number;
  readonly time: number;
  readonly card: string;
  readonly terminal: string;
  readonly mcc: string;
  /** Minor units. */
  readonly minor: number;
  readonly isDeclined: boolean;
}

const hour = 3_600_000;
const windows = { '1h': hour, '24h': 24 * hour, '7d': 168 * hour };
const delayMs = 48 * hour;
const terminalWindows = { '24h': windows['24h'], '7d': windows['7d'] };

/**
 * The features of weir.yaml by their definitions, over plain lists and without anything from the product. The log is in order of partition and
 * offset; a key that has moved from one partition to another when the topic grew did so upwards.
 */
export function bruteForce(log: readonly TopicRecord[]): WantedOutput {
  const events = new Map<string, Wanted>();
  const deadLetters = new Map<string, { reason: string; record: TopicRecord }>();
  const byCard = new Map<string, Event[]>();
  const seen = new Set<string>();
  const byTerminal = new Map<string, Event[]>();
  const kept: { readonly at: string; readonly event: Event; readonly sameTerminal: readonly Event[] }[] = [];
  const repeats = new Map<string, string>();
  for (const record of log) {
    const at = `${record.partition}:${record.offset}`;
    if (record.headers.spoilt !== undefined) {
      deadLetters.set(at, { reason: record.headers.spoilt, record });
      continue;
    }
    const event = read(record);
    // By partition: a repetition that a growth of the topic has moved is a transaction of its own.
    const known = `${event.partition}:${event.id}`;
    if (seen.has(known)) {
      repeats.set(at, event.id);
      continue;
    }
    seen.add(known);
    const sameCard = listOf(byCard, event.card);
    const sameTerminal = listOf(byTerminal, event.terminal);
    sameCard.push(event);
    sameTerminal.push(event);
    kept.push({ at, event, sameTerminal: sameTerminal.filter(({ partition }) => partition === event.partition) });
    events.set(at, { id: event.id, features: cardFeatures(event, sameCard), delayed: {}, bounds: {} });
  }
  for (const { at, event, sameTerminal } of kept) {
    const all = byTerminal.get(event.terminal)!;
    const of = { delayed: delayedFeatures(event, all), bounds: terminalBounds(event, sameTerminal, all) };
    events.set(at, { ...events.get(at)!, ...of });
  }
  const haveKeysMoved = [...byCard.values()].some((card) =>
    card.some(({ partition }) => partition !== card[0].partition),
  );
  return { events, deadLetters, repeats, haveKeysMoved };
}

function read({ partition, value }: TopicRecord): Event {
  const { id, ts, card, terminal, amount, outcome } = JSON.parse(String(value)) as {
    id: string;
    ts: number;
    card: { id: string };
    terminal: { id: string; mcc: string };
    amount: string;
    outcome: string;
  };
  const minor = Math.round(Number(amount) * 100);
  const of = { card: card.id, terminal: terminal.id, mcc: terminal.mcc, isDeclined: outcome === 'declined' };
  return { id, partition, time: ts, minor, ...of };
}

/** @param applied the card's events by then, the event itself as the last. */
function cardFeatures(event: Event, applied: readonly Event[]): Record<string, number> {
  const features: Record<string, number> = { amount: event.minor / 100 };
  const within = (widthMs: number) => applied.filter(({ time }) => time <= event.time && time > event.time - widthMs);
  for (const [name, widthMs] of Object.entries(windows)) {
    const events = within(widthMs);
    features[`card.count.${name}`] = events.length;
    features[`card.sum.amount.${name}`] = total(events) / 100;
    if (name === '1h') continue;
    features[`card.ratio.declined.${name}`] = events.filter(({ isDeclined }) => isDeclined).length / events.length;
    const here = events.filter(({ terminal }) => terminal === event.terminal);
    features[`card_terminal.count.${name}`] = here.length;
    features[`card_terminal.sum.amount.${name}`] = total(here) / 100;
  }
  const others = within(windows['7d']).filter((other) => other !== event);
  const amounts = others.map(({ minor }) => minor);
  const none = others.length === 0;
  features['card.mean.amount.7d.exclude-current'] = none ? 0 : total(others) / (100 * others.length);
  features['card.min.amount.7d.exclude-current'] = none ? 0 : Math.min(...amounts) / 100;
  features['card.max.amount.7d.exclude-current'] = none ? 0 : Math.max(...amounts) / 100;
  features['card.stddev.amount.7d.exclude-current'] = none ? 0 : deviation(amounts);
  const latest = Math.max(...others.map(({ time }) => time));
  features['card.time-since-last.7d'] = (none ? windows['7d'] : event.time - latest) / 1000;
  features['card.is-new.mcc.7d'] = others.some(({ mcc }) => mcc === event.mcc) ? 0 : 1;
  return features;
}

/** @param all the terminal's events of all partitions. */
function delayedFeatures({ time }: Event, all: readonly Event[]): Record<string, number> {
  const features: Record<string, number> = {};
  const to = time - delayMs;
  for (const [name, widthMs] of Object.entries(terminalWindows)) {
    const events = all.filter((other) => other.time <= to && other.time > to - widthMs);
    const declined = events.filter(({ isDeclined }) => isDeclined).length;
    features[`terminal.count.${name}.delay-2d`] = events.length;
    features[`terminal.ratio.declined.${name}.delay-2d`] = events.length === 0 ? 0 : declined / events.length;
  }
  return features;
}

/** At least what the event's own partition had by then, at most all that any partition ever has. */
function terminalBounds(event: Event, own: readonly Event[], all: readonly Event[]): Record<string, [number, number]> {
  const bounds: Record<string, [number, number]> = {};
  for (const [name, widthMs] of Object.entries(terminalWindows)) {
    const count = (events: readonly Event[]) =>
      events.filter(({ time }) => time <= event.time && time > event.time - widthMs).length;
    bounds[`terminal.count.${name}`] = [count(own), count(all)];
    const delayed = `terminal.count.${name}.delay-2d`;
    bounds[delayed] = [delayedFeatures(event, own)[delayed], delayedFeatures(event, all)[delayed]];
  }
  return bounds;
}

function total(events: readonly Event[]): number {
  return events.reduce((sum, { minor }) => sum + minor, 0);
}

/** The population's, from exact integers. */
function deviation(minors: readonly number[]): number {
  const sum = minors.reduce((total, minor) => total + BigInt(minor), 0n);
  const squares = minors.reduce((total, minor) => total + BigInt(minor) ** 2n, 0n);
  const n = minors.length;
  return Math.sqrt(Number(BigInt(n) * squares - sum * sum)) / n / 100;
}

function listOf(lists: Map<string, Event[]>, key: string): Event[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}
