import type { Random } from '../runtime/random.ts';
import { day } from './calendar.ts';
import { type Choice, chooseTerminal, homeAddress, type Market, type Terminal } from './merchants.ts';
import { between, chance, cumulate, drawWeighted, logNormal, oneOf, uniform } from './sampling.ts';

export interface Card {
  readonly id: string;
  readonly bin: string;
  readonly country: string;
}

/** One shopper: who they are, where they live and shop, how they pay. Changes as cards and devices are replaced. */
export interface Customer {
  readonly accountId: string;
  readonly emailDomain: string;
  /** When the account was opened, milliseconds since the epoch. */
  readonly openedAt: number;
  readonly city: number;
  /** Multiplies every amount; 1 is the median shopper. */
  readonly spendLevel: number;
  readonly onlineShare: number;
  readonly isNightOwl: boolean;
  readonly isGamer: boolean;
  /** Often short of money, so often declined. */
  readonly isShortOfFunds: boolean;
  readonly favourites: readonly Terminal[];
  readonly onlineFavourites: readonly Terminal[];
  readonly cards: Card[];
  readonly devices: string[];
  homeIp: string;
  trip: { city: number; until: number } | undefined;
}

/** The shoppers; each is made when first seen, so that a large population costs only what is used. */
export interface Population {
  /** A shopper, the active ones more often. */
  draw(time: number): Customer;
  /** Any shopper with equal chance. */
  drawEvenly(time: number): Customer;
  /** One leaves and, in time, somebody new takes the place. */
  replaceOne(): void;
  issueCard(country: string): Card;
  newDevice(): string;
}

const bins: Readonly<Record<string, readonly string[]>> = {
  DE: ['453201', '455714', '522951', '546616'],
  FR: ['497010', '513101'],
  NL: ['516796', '524886'],
  ES: ['454617', '540211'],
  IT: ['453997', '525594'],
};
const otherBins = ['400123', '424519', '531055', '552433'];
export const emailDomains = [
  'gmail.com',
  'gmx.net',
  'web.de',
  'outlook.com',
  'icloud.com',
  'yahoo.com',
  'proton.me',
  'orange.fr',
];

export function createPopulation(
  size: number,
  start: number,
  market: Market,
  newId: (prefix: string) => string,
  random: Random,
): Population {
  const slots: (Customer | undefined)[] = new Array(size);
  const replaced = new Set<number>();
  const activity = new Float64Array(size);
  for (let slot = 0; slot < size; slot++) activity[slot] = Math.min(6, logNormal(1, 0.7, random));
  const activityTotals = cumulate(activity);

  const issueCard = (country: string): Card => ({
    id: newId('c_'),
    bin: oneOf(bins[country] ?? otherBins, random),
    country,
  });
  const newDevice = () => newId('d_');

  const create = (openedAt: number): Customer => {
    const city = drawWeighted(market.cityTotals, random);
    const country = market.cityCountries[city];
    return {
      accountId: newId('a_'),
      emailDomain: oneOf(emailDomains, random),
      openedAt,
      city,
      spendLevel: logNormal(1, 0.45, random),
      onlineShare: Math.min(0.85, logNormal(0.22, 0.6, random)),
      isNightOwl: chance(0.12, random),
      isGamer: chance(0.12, random),
      isShortOfFunds: chance(0.05, random),
      favourites: someOf(market.inCity[city], between(5, 11, random), random),
      onlineFavourites: someOf(market.online, between(3, 6, random), random),
      cards: Array.from({ length: chance(0.35, random) ? between(2, 3, random) : 1 }, () => issueCard(country)),
      devices: Array.from({ length: chance(0.45, random) ? 2 : 1 }, newDevice),
      homeIp: homeAddress(random),
      trip: undefined,
    };
  };
  // Those here from the start have banked for years; later ones have just joined.
  const at = (slot: number, time: number): Customer => {
    const known = slots[slot];
    if (known !== undefined) return known;
    const openedAt = replaced.delete(slot)
      ? time - uniform(0, 20 * day, random)
      : start - 5 * day - random.exponential(900 * day);
    const customer = create(openedAt);
    slots[slot] = customer;
    return customer;
  };
  return {
    draw: (time) => at(drawWeighted(activityTotals, random), time),
    drawEvenly: (time) => at(random.below(size), time),
    replaceOne() {
      const slot = random.below(size);
      if (slots[slot] === undefined) return;
      slots[slot] = undefined;
      replaced.add(slot);
    },
    issueCard,
    newDevice,
  };
}

const someOf = (choice: Choice, count: number, random: Random): Terminal[] =>
  Array.from({ length: count }, () => chooseTerminal(choice, random));
