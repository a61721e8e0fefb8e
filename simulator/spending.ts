import type { Random } from '../runtime/random.ts';
import { day, hour, hourOfDay, minute } from './calendar.ts';
import {
  chooseTerminal,
  digitalGoods,
  homeAddress,
  isOpen,
  type Market,
  mobileAddress,
  type Terminal,
  takesContactlessOnly,
} from './merchants.ts';
import type { Card, Customer, Population } from './population.ts';
import { between, chance, drawWeighted, logNormal, oneOf, uniform } from './sampling.ts';
import type { Entry, FraudKind } from './transaction.ts';

/** A transaction decided on but not yet due. */
export interface Planned {
  readonly time: number;
  readonly customer: Customer;
  readonly card: Card;
  readonly terminal: Terminal;
  readonly device: { id: string; ip: string } | undefined;
  readonly cents: number;
  readonly entry: Entry;
  readonly isDeclined: boolean;
  readonly fraud: FraudKind;
  /** The bank has noticed: the card is replaced after this one. */
  readonly endsCard?: boolean;
}

export interface World {
  readonly market: Market;
  readonly population: Population;
  readonly random: Random;
  plan(transaction: Planned): void;
}

/** A shopper buys something now; what follows from it (a second errand, a journey, a spree) is planned. */
export function shop(customer: Customer, time: number, world: World): Planned {
  if (customer.trip === undefined && chance(0.006, world.random)) leaveHome(customer, time, world);
  const purchase = buy(customer, chooseShop(customer, time, world), time, 1, world);
  followUp(purchase, world);
  return purchase;
}

function leaveHome(customer: Customer, time: number, { market, random }: World): void {
  const city = drawWeighted(market.cityTotals, random);
  if (city !== customer.city) customer.trip = { city, until: time + uniform(1, 9, random) * day };
}

function chooseShop(customer: Customer, time: number, world: World): Terminal {
  if (customer.trip !== undefined && customer.trip.until < time) customer.trip = undefined;
  const at = hourOfDay(time);
  for (let tries = 0; tries < 4; tries++) {
    const terminal = considerShop(customer, world);
    if (isOpen(terminal, at)) return terminal;
  }
  return oneOf(customer.onlineFavourites, world.random);
}

function considerShop(customer: Customer, { market, random }: World): Terminal {
  if (chance(customer.onlineShare, random)) {
    return chance(0.6, random) ? favourite(customer.onlineFavourites, random) : chooseTerminal(market.online, random);
  }
  if (customer.trip !== undefined) return chooseTerminal(market.inCity[customer.trip.city], random);
  if (chance(0.72, random)) return favourite(customer.favourites, random);
  const city = chance(0.06, random) ? drawWeighted(market.cityTotals, random) : customer.city;
  return chooseTerminal(market.inCity[city], random);
}

/** The first of the list about twice as often as one in the middle. */
const favourite = (terminals: readonly Terminal[], random: Random): Terminal =>
  terminals[Math.floor(random.next() ** 1.6 * terminals.length)];

function buy(customer: Customer, terminal: Terminal, time: number, factor: number, world: World): Planned {
  const { random } = world;
  const cents = price(terminal, customer.spendLevel * factor, random);
  const isAbroad = customer.trip !== undefined && terminal.country !== world.market.cityCountries[customer.city];
  const entry = entryAt(terminal, cents, isAbroad, random);
  return {
    time,
    customer,
    card: chance(0.8, random) ? customer.cards[0] : oneOf(customer.cards, random),
    terminal,
    device: entry === 'online' ? deviceOf(customer, terminal, world) : undefined,
    cents,
    entry,
    isDeclined: chance(ordinaryDecline(customer, cents, entry), random),
    fraud: 'none',
  };
}

/** What a shopper of that level pays there, in cents; level 1 is the median. */
export function price(terminal: Terminal, level: number, random: Random): number {
  const { mcc, medianAmount, spread } = terminal.category;
  const amount = logNormal(medianAmount * terminal.priceLevel * level ** 0.8, spread, random);
  if (mcc === digitalGoods) return Math.max(1, Math.round(amount)) * 100 - 1;
  if (chance(0.12, random)) return Math.max(1, Math.round(amount)) * 100;
  return Math.min(1_500_000, Math.max(30, Math.round(amount * 100)));
}

/** Everyday ways to pay: taps for small sums, the chip for large ones, the stripe where nothing else works. */
export function entryAt(terminal: Terminal, cents: number, isAbroad: boolean, random: Random): Entry {
  if (terminal.city < 0) return 'online';
  if (takesContactlessOnly(terminal)) return 'contactless';
  if (terminal.stripeOnly || chance(isAbroad ? 0.05 : 0.006, random)) return 'magstripe';
  return chance(cents <= 5000 ? 0.75 : 0.25, random) ? 'contactless' : 'chip';
}

function deviceOf(customer: Customer, terminal: Terminal, world: World): { id: string; ip: string } {
  const { random, population } = world;
  if (terminal.agent !== undefined) return terminal.agent;
  const habit = random.next();
  if (habit < 0.015) return { id: population.newDevice(), ip: homeAddress(random) }; // at a friend's, at work
  if (habit < 0.035) customer.devices[random.below(customer.devices.length)] = population.newDevice();
  if (chance(0.015, random)) customer.homeIp = homeAddress(random);
  const id = chance(0.75, random) ? customer.devices[0] : oneOf(customer.devices, random);
  const isOut = customer.trip !== undefined || chance(0.22, random);
  return { id, ip: isOut ? mobileAddress(random) : customer.homeIp };
}

function ordinaryDecline(customer: Customer, cents: number, entry: Entry): number {
  const large = cents > 15_000 * customer.spendLevel ? 0.05 : 0;
  const awkward = entry === 'magstripe' ? 0.04 : entry === 'online' ? 0.015 : 0;
  return 0.012 + large + awkward + (customer.isShortOfFunds ? 0.12 : 0);
}

function followUp(purchase: Planned, world: World): void {
  const { random } = world;
  if (purchase.isDeclined && chance(0.5, random)) retry(purchase, world);
  else if (purchase.customer.isGamer && purchase.terminal.category.mcc === digitalGoods && chance(0.3, random)) {
    again(purchase, between(3, 12, random), 3 * minute, world);
  } else if (chance(0.07, random)) errands(purchase, between(1, 3, random), 25 * minute, 1, world);
  else if (chance(0.0025, random))
    errands(purchase, between(5, 14, random), 3 * hour, uniform(1.2, 2.6, random), world);
}

function retry(purchase: Planned, { random, plan }: World): void {
  const time = purchase.time + minute + random.exponential(3 * minute);
  plan({ ...purchase, time, isDeclined: chance(0.45, random) });
}

/** The same shop over and over, as in a game. */
function again(purchase: Planned, times: number, meanGap: number, { random, plan }: World): void {
  let time = purchase.time;
  for (let i = 0; i < times; i++) {
    time += 10_000 + random.exponential(meanGap);
    plan({ ...purchase, time, cents: price(purchase.terminal, 1, random), isDeclined: chance(0.03, random) });
  }
}

/** One shop after the other: a morning's errands, or with a factor above 1 the sprees before holidays and moves. */
function errands(purchase: Planned, times: number, meanGap: number, factor: number, world: World): void {
  const { customer } = purchase;
  let time = purchase.time;
  for (let i = 0; i < times; i++) {
    time += 2 * minute + world.random.exponential(meanGap);
    const terminal = factor > 1 && chance(0.4, world.random) ? valuableShop(customer.city, world) : undefined;
    world.plan(buy(customer, terminal ?? chooseShop(customer, time, world), time, factor, world));
  }
}

/** Where costly things that sell on easily are bought: online or in the city. */
export function valuableShop(city: number, { market, random }: World): Terminal {
  const near = market.valuableInCity[city];
  const isOnline = near.terminals.length === 0 || chance(0.5, random);
  return chooseTerminal(isOnline ? market.valuableOnline : near, random);
}
