import { day, hour, minute, whenShopsAreOpen } from './calendar.ts';
import { chooseTerminal, homeAddress, mobileAddress, type Terminal, takesContactlessOnly } from './merchants.ts';
import type { Card, Customer } from './population.ts';
import { between, chance, drawWeighted, logNormal, oneOf, uniform } from './sampling.ts';
import { entryAt, type Planned, price, valuableShop, type World } from './spending.ts';
import type { FraudKind } from './transaction.ts';

type Device = { id: string; ip: string };

/** One fraud: plans its transactions, beginning at `time`. */
export type Episode = (time: number, world: World) => void;

const newDevice = ({ population, random }: World): Device => ({
  id: population.newDevice(),
  ip: chance(0.35, random) ? mobileAddress(random) : homeAddress(random),
});

function planFraud(
  fraud: FraudKind,
  transaction: Omit<Planned, 'fraud' | 'entry'> & Partial<Planned>,
  world: World,
): void {
  const { terminal, cents } = transaction;
  world.plan({ entry: entryAt(terminal, cents, false, world.random), ...transaction, fraud });
}

/**
 * Stolen numbers tried out with tiny amounts at one online shop. The crude do it in minutes from one device; the
 * careful take hours and change device every few cards. A few cards that work are then emptied.
 */
export const testCards: Episode = (time, world) => {
  const { random } = world;
  const terminal = chooseTerminal(world.market.online, random);
  const isCareful = chance(0.3, random);
  const cardsPerDevice = isCareful ? between(1, 4, random) : between(12, 40, random);
  const meanGap = isCareful ? 9 * minute : uniform(8_000, 50_000, random);
  let device = newDevice(world);
  let hits = 0;
  let at = time;
  for (let i = between(12, 26, random); i > 0; i--) {
    if (i % cardsPerDevice === 0) device = newDevice(world);
    const customer = world.population.drawEvenly(at);
    const card = oneOf(customer.cards, random);
    const cents = chance(0.3, random) ? price(terminal, 0.3, random) : between(50, 499, random);
    const isDeclined = chance(0.72, random);
    planFraud('card_testing', { time: at, customer, card, terminal, device, cents, isDeclined }, world);
    if (!isDeclined && hits++ < 3) emptyCard(customer, card, at + random.exponential(20 * hour), world);
    at += 2_000 + random.exponential(meanGap);
  }
};

function emptyCard(customer: Customer, card: Card, time: number, world: World): void {
  const { random } = world;
  const device = newDevice(world);
  let at = time;
  for (let left = between(1, 3, random); left > 0; left--) {
    const terminal = chooseTerminal(chance(0.5, random) ? world.market.valuableOnline : world.market.online, random);
    const cents = Math.round(logNormal(11_000, 0.8, random));
    const isDeclined = chance(0.25, random);
    planFraud(
      'card_testing',
      { time: at, customer, card, terminal, device, cents, isDeclined, endsCard: left === 1 },
      world,
    );
    at += minute + random.exponential(40 * minute);
  }
}

/** Somebody else signs in: new device and address, then amounts that rise over hours. */
export const takeAccountOver: Episode = (time, world) => {
  const { random } = world;
  const customer = world.population.draw(time);
  const card = oneOf(customer.cards, random);
  const device = newDevice(world);
  const growth = uniform(1.15, 2, random);
  let amount = logNormal(4_000, 0.6, random);
  let at = time;
  for (let left = between(3, 8, random); left > 0; left--) {
    const terminal = takeoverShop(customer, world);
    const cents = Math.min(900_000, Math.max(100, Math.round(amount * logNormal(1, 0.35, random))));
    const isDeclined = chance(0.2, random);
    planFraud(
      'account_takeover',
      { time: at, customer, card, terminal, device, cents, isDeclined, endsCard: left === 1 },
      world,
    );
    amount *= growth;
    at += minute + random.exponential(30 * minute);
  }
};

/** Shops where the victim's card is on file are the easy ones. */
function takeoverShop(customer: Customer, { market, random }: World): Terminal {
  if (chance(0.35, random)) return oneOf(customer.onlineFavourites, random);
  return chooseTerminal(chance(0.4, random) ? market.valuableOnline : market.online, random);
}

/** The account behaves for months, then spends all it can within a day or two; device and shops are its own. */
export const bustOut: Episode = (time, world) => {
  const { random } = world;
  const customer = youngest(5, time, world);
  const card = customer.cards[0];
  const count = between(8, 17, random);
  const meanGap = (uniform(0.6, 1.8, random) * day) / count;
  let at = time;
  for (let done = 1; done <= count; done++) {
    const terminal = chance(0.7, random) ? valuableShop(customer.city, world) : oneOf(customer.favourites, random);
    const device = terminal.city < 0 ? { id: customer.devices[0], ip: customer.homeIp } : undefined;
    const cents = price(terminal, customer.spendLevel * uniform(2.5, 7, random), random);
    const isDeclined = chance((0.5 * done) / count, random);
    planFraud(
      'bust_out',
      { time: at, customer, card, terminal, device, cents, isDeclined, endsCard: done === count },
      world,
    );
    at = whenShopsAreOpen(at + random.exponential(meanGap), random);
  }
};

function youngest(among: number, time: number, { population }: World): Customer {
  let found = population.draw(time);
  for (let i = 1; i < among; i++) {
    const other = population.draw(time);
    if (other.openedAt > found.openedAt) found = other;
  }
  return found;
}

/** A purse is gone: taps below the limit near home, and where the code was known larger sums by chip. */
export const useLostCard: Episode = (time, world) => {
  const { random, market } = world;
  const customer = world.population.draw(time);
  const card = customer.cards[0];
  const taps = between(4, 8, random);
  const large = chance(0.7, random) ? between(1, 3, random) : 0;
  let at = whenShopsAreOpen(time, random);
  for (let done = 1; done <= taps + large; done++) {
    const isTap = done <= taps;
    const terminal = chooseTerminal(market.inCity[customer.city], random);
    const cents = isTap ? between(1_500, 4_990, random) : Math.round(logNormal(26_000, 0.6, random));
    const isDeclined = chance(isTap ? 0.06 : 0.35, random);
    const entry = isTap ? 'contactless' : chance(0.7, random) ? 'chip' : 'magstripe';
    const endsCard = done === taps + large;
    planFraud(
      'lost_or_stolen',
      { time: at, customer, card, terminal, device: undefined, cents, isDeclined, entry, endsCard },
      world,
    );
    at += minute + random.exponential(11 * minute);
  }
};

/** Terminals that copy cards: which, until when, and how many cards the ring will use. */
export interface Skimmers {
  /** A busy terminal is tampered with for a few days. */
  readonly install: Episode;
  /** To be told of every ordinary purchase: a copied card is planned to be used elsewhere, days later. */
  see(purchase: Planned): void;
}

interface Skimmer {
  until: number;
  cardsLeft: number;
  readonly device: Device;
  readonly copied: Set<Card>;
}

export function createSkimmers(world: World): Skimmers {
  const skimmers = new Map<Terminal, Skimmer>();
  const install: Episode = (time) => {
    for (const [terminal, skimmer] of skimmers) if (skimmer.until < time) skimmers.delete(terminal);
    const { random } = world;
    const terminal = busyTerminal(world);
    const device = newDevice(world);
    const until = time + uniform(1.5, 4, random) * day;
    skimmers.set(terminal, { until, cardsLeft: between(8, 16, random), device, copied: new Set() });
  };
  return {
    install,
    see({ terminal, time, card, customer, entry }) {
      const skimmer = skimmers.get(terminal);
      if (skimmer === undefined || entry === 'contactless' || time > skimmer.until || skimmer.cardsLeft === 0) return;
      if (skimmer.copied.has(card)) return;
      skimmer.copied.add(card);
      skimmer.cardsLeft--;
      useCopy(customer, card, skimmer, skimmer.until + uniform(0.2, 5, world.random) * day, world);
    },
  };
}

/** A shop with much traffic whose cards can be copied: an online one, or one where cards are put into the reader. */
function busyTerminal({ market, random }: World): Terminal {
  if (chance(0.3, random)) return chooseTerminal(market.online, random);
  const city = market.inCity[drawWeighted(market.cityTotals, random)];
  let found = chooseTerminal(city, random);
  for (let tries = 0; tries < 8; tries++) {
    const other = chooseTerminal(city, random);
    const isBetter = other.category.traffic > found.category.traffic || takesContactlessOnly(found);
    if (isBetter && !takesContactlessOnly(other)) found = other;
  }
  return found;
}

function useCopy(customer: Customer, card: Card, skimmer: Skimmer, time: number, world: World): void {
  const { random, market } = world;
  const isOnline = chance(0.55, random);
  const city = drawWeighted(market.cityTotals, random);
  const device = chance(0.4, random) ? skimmer.device : newDevice(world);
  let at = isOnline ? time : whenShopsAreOpen(time, random);
  for (let left = between(1, 4, random); left > 0; left--) {
    const terminal = chooseTerminal(isOnline ? market.online : market.inCity[city], random);
    planFraud(
      'compromised_terminal',
      {
        time: at,
        customer,
        card,
        terminal,
        device: isOnline ? device : undefined,
        cents: Math.round(logNormal(15_000, 0.8, random)),
        entry: isOnline ? 'online' : 'magstripe',
        isDeclined: chance(0.28, random),
        endsCard: left === 1,
      },
      world,
    );
    at += minute + random.exponential(70 * minute);
  }
}
