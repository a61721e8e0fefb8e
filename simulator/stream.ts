import { type Random, seededRandom } from '../runtime/random.ts';
import { day, hourOfDay, nextArrival } from './calendar.ts';
import { bustOut, createSkimmers, type Episode, takeAccountOver, testCards, useLostCard } from './fraud.ts';
import { createMarket, type Market } from './merchants.ts';
import { type Customer, createPopulation, type Population } from './population.ts';
import { chance, createIds } from './sampling.ts';
import { createSchedule } from './schedule.ts';
import { type Planned, shop, type World } from './spending.ts';
import type { SimulatedTransaction } from './transaction.ts';

export interface SimulationOptions {
  /** 0 to 2^32 - 1: the same seed and options give the same stream, byte for byte. */
  readonly seed: number;
  /** How many transactions; Infinity for a stream without end. */
  readonly events: number;
  /** Shoppers, at least 10; each makes about two transactions a day. */
  readonly customers?: number;
  /** Terminals, at least 10. */
  readonly terminals?: number;
  /** Event time of the beginning, milliseconds since the epoch. */
  readonly start?: number;
}

export const defaultStart = Date.UTC(2026, 0, 1);
const transactionsPerCustomerDay = 2;
/** Purchases that follow from an earlier one, per purchase that does not; and fraud, which comes on top. */
const followUpsPerArrival = 0.22;

/**
 * Shoppers for a stream of that many events, so that it lasts from 16 days for the smallest to some months: windows of
 * days and weeks need event time to pass, and bigger streams come from bigger banks.
 */
export function customersFor(events: number): number {
  const size = Math.min(events, 1e9);
  const days = Math.max(16, 20 * (size / 50_000) ** 0.35);
  return Math.round(Math.min(50_000, Math.max(40, size / (transactionsPerCustomerDay * days))));
}

/**
 * Shoppers for a stream sent live at that rate: as many as make that many transactions a day, so that windows see
 * believable numbers. Above 1.2 events a second memory sets the limit, and shoppers buy faster than people do.
 */
export const customersForRate = (perSecond: number): number =>
  Math.round(Math.min(50_000, Math.max(1_000, (perSecond * 86_400) / transactionsPerCustomerDay)));

const terminalsFor = (customers: number): number => Math.max(40, Math.round(customers / 4));

/**
 * A seeded stream of card transactions in order of event time. Memory depends on the number of shoppers and
 * terminals and not on how many events are taken.
 */
export function* simulateTransactions(options: SimulationOptions): Generator<SimulatedTransaction, void, void> {
  for (const { id, planned } of simulatePurchases(options).purchases) yield present(planned, id);
}

/** A transaction with all that the simulation knows of it; what it refers to changes once the next one is taken. */
export interface Purchase {
  readonly id: string;
  readonly planned: Planned;
}

/** What `simulateTransactions` presents, and the market it happens in. */
export function simulatePurchases(options: SimulationOptions): {
  readonly market: Market;
  readonly purchases: Generator<Purchase, void, void>;
} {
  const { events, seed, start = defaultStart } = options;
  const customers = options.customers ?? customersFor(events);
  const random = seededRandom(seed);
  const newId = createIds(seed);
  const market = createMarket(options.terminals ?? terminalsFor(customers), newId, random);
  const population = createPopulation(customers, start, market, newId, random);
  return { market, purchases: purchasesOf({ seed, events, start, customers, market, population, random }) };
}

interface Purchases {
  readonly seed: number;
  readonly events: number;
  readonly start: number;
  readonly customers: number;
  readonly market: Market;
  readonly population: Population;
  readonly random: Random;
}

function* purchasesOf(of: Purchases): Generator<Purchase, void, void> {
  const { seed, events, start, customers, market, population, random } = of;
  const planned = createSchedule<Planned>();
  const world: World = { market, population, random, plan: planned.add };
  const skimmers = createSkimmers(world);
  const frauds = createFraudCalendar(skimmers.install, random);
  const arrivalsPerDay = (customers * transactionsPerCustomerDay) / (1 + followUpsPerArrival);

  let arrival = nextArrival(start, arrivalsPerDay, random);
  for (let emitted = 0; emitted < events; ) {
    const due = planned.takeBefore(arrival);
    const transaction = due ?? shop(drawShopper(population, arrival, random), arrival, world);
    if (due === undefined) {
      skimmers.see(transaction);
      for (const begin of frauds.dueAfterArrival()) begin(arrival, world);
      if (chance(turnover, random)) population.replaceOne();
      arrival = nextArrival(arrival, arrivalsPerDay, random);
    }
    yield { id: `t-${seed}-${String(emitted++).padStart(9, '0')}`, planned: transaction };
    if (transaction.endsCard) replaceCard(transaction, population);
  }
}

/** Per arrival: a shopper stays for about 500 days. */
const turnover = 1 / (500 * transactionsPerCustomerDay);

/** Most people sleep at night: an arrival then is seldom one of theirs. */
function drawShopper(population: Population, time: number, random: Random): Customer {
  const isNight = hourOfDay(time) < 6;
  let customer = population.draw(time);
  for (let tries = 0; isNight && tries < 3 && !customer.isNightOwl && chance(0.7, random); tries++) {
    customer = population.draw(time);
  }
  return customer;
}

function replaceCard({ customer, card }: Planned, population: Population): void {
  const at = customer.cards.indexOf(card);
  if (at >= 0) customer.cards[at] = population.issueCard(card.country);
}

/** As a card processor would publish it. */
export function present(planned: Planned, id: string): SimulatedTransaction {
  const { customer, card, terminal, cents } = planned;
  const ts = Math.floor(planned.time);
  const account = {
    id: customer.accountId,
    email_domain: customer.emailDomain,
    age_days: Math.floor((ts - customer.openedAt) / day),
  };
  const place = { id: terminal.id, mcc: terminal.category.mcc, country: terminal.country };
  const rest = {
    amount: decimal(cents),
    currency: 'EUR',
    entry: planned.entry,
    outcome: planned.isDeclined ? 'declined' : 'approved',
    fraud: planned.fraud !== 'none',
    fraud_kind: planned.fraud,
  } as const;
  return planned.device === undefined
    ? { id, ts, type: 'authorization', card, account, terminal: place, ...rest }
    : { id, ts, type: 'authorization', card, account, terminal: place, device: planned.device, ...rest };
}

/** 1234 cents as "12.34". */
export function decimal(cents: number): string {
  const part = cents % 100;
  return `${(cents - part) / 100}.${part < 10 ? '0' : ''}${part}`;
}

/**
 * When frauds begin, counted in arrivals so that the share of fraud holds for any size of stream. Each kind begins
 * once in every stretch of its length, at a moment drawn at random; the first soon enough for a small stream.
 */
function createFraudCalendar(installSkimmer: Episode, random: Random): { dueAfterArrival(): Episode[] } {
  const stretch = (share: number, transactions: number) => ({
    every: transactions / (fraudRate * share),
    next: 0,
    count: 0,
  });
  const kinds = [
    { begin: testCards, ...stretch(0.25, 25) },
    { begin: takeAccountOver, ...stretch(0.2, 5.5) },
    { begin: installSkimmer, ...stretch(0.25, 22) },
    { begin: bustOut, ...stretch(0.15, 12.5) },
    { begin: useLostCard, ...stretch(0.15, 7.4) },
  ];
  for (const kind of kinds) kind.next = Math.floor(random.next() * Math.min(kind.every, 3000));
  let arrivals = 0;
  return {
    dueAfterArrival() {
      arrivals++;
      const due: Episode[] = [];
      for (const kind of kinds) {
        if (kind.next >= arrivals) continue;
        due.push(kind.begin);
        kind.next = Math.floor((++kind.count + random.next()) * kind.every);
      }
      return due;
    },
  };
}

/** Fraudulent transactions per arrival. */
const fraudRate = 0.0125;
