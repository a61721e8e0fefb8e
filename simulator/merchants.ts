import type { Random } from '../runtime/random.ts';
import { between, chance, cumulate, drawWeighted, logNormal, oneOf } from './sampling.ts';

/** A kind of merchant: how often, when and for how much people pay there. */
export interface MerchantCategory {
  readonly mcc: string;
  /** Share of terminals. */
  readonly terminals: number;
  /** Traffic of one such terminal, relative to the others. */
  readonly traffic: number;
  /** Part of its terminals that sell online. */
  readonly online: number;
  readonly medianAmount: number;
  readonly spread: number;
  /** First and last hour of business; the last may lie past midnight. */
  readonly open: readonly [number, number];
  /** What a thief or a spree would buy. */
  readonly valuable: boolean;
}

const category = (
  mcc: string,
  terminals: number,
  traffic: number,
  online: number,
  amount: readonly [number, number],
  open: readonly [number, number],
  valuable = false,
): MerchantCategory => ({
  mcc,
  terminals,
  traffic,
  online,
  medianAmount: amount[0],
  spread: amount[1],
  open,
  valuable,
});

export const digitalGoods = '5816';
const transit = '4111';

export const categories: readonly MerchantCategory[] = [
  category('5411', 14, 4, 0.05, [24, 0.75], [7, 22]), // groceries
  category('5812', 13, 1.2, 0, [31, 0.6], [11, 25]), // restaurants
  category('5814', 9, 2, 0.15, [9.5, 0.45], [6, 26]), // fast food
  category('5541', 6, 1.8, 0, [52, 0.4], [0, 24]), // fuel
  category('5912', 6, 1.2, 0.15, [17, 0.65], [8, 20]), // pharmacies
  category('5311', 4, 1.6, 0.25, [46, 0.8], [9, 21]), // department stores
  category('5651', 8, 0.9, 0.35, [54, 0.7], [9, 21]), // clothing
  category('5732', 5, 0.9, 0.55, [115, 1], [9, 21], true), // electronics
  category('5200', 4, 0.8, 0.2, [48, 0.9], [7, 20]), // home improvement
  category(transit, 5, 3, 0, [3.2, 0.5], [4, 25]),
  category('7011', 3, 0.5, 0.3, [135, 0.6], [0, 24]), // hotels
  category('5944', 2, 0.3, 0.3, [170, 0.9], [9, 20], true), // jewellery
  category('4722', 2, 0.5, 0.8, [260, 0.85], [0, 24], true), // travel agencies
  category('5999', 9, 1.4, 0.9, [33, 0.9], [0, 24]), // mail order
  category(digitalGoods, 4, 2.2, 1, [7, 0.7], [0, 24]),
  category('4899', 3, 1.6, 1, [13, 0.45], [0, 24]), // streaming
  category('7995', 1, 1.2, 1, [28, 1], [0, 24]), // betting
  category('6540', 2, 0.5, 1, [60, 0.8], [0, 24], true), // stored value
];

export interface Terminal {
  readonly id: string;
  readonly category: MerchantCategory;
  readonly country: string;
  /** Index of the city it stands in; -1 for an online shop. */
  readonly city: number;
  readonly priceLevel: number;
  /** An old reader takes the stripe only. */
  readonly stripeOnly: boolean;
  /** A shop that takes orders by telephone keys all of them in on its own device. */
  readonly agent: { id: string; ip: string } | undefined;
}

/** Terminals to choose from, the popular ones more often. */
export interface Choice {
  readonly terminals: readonly Terminal[];
  readonly totals: Float64Array;
}

export interface Market {
  readonly cityCountries: readonly string[];
  readonly cityTotals: Float64Array;
  /** Terminals of each city. */
  readonly inCity: readonly Choice[];
  readonly valuableInCity: readonly Choice[];
  readonly online: Choice;
  readonly valuableOnline: Choice;
}

const countries = ['DE', 'DE', 'DE', 'FR', 'FR', 'NL', 'ES', 'ES', 'IT', 'AT', 'BE', 'PT', 'GB', 'US'];

export const chooseTerminal = (choice: Choice, random: Random): Terminal =>
  choice.terminals[drawWeighted(choice.totals, random)];

/** Lays out cities and terminals: the size of cities and the traffic of terminals follow Zipf's law. */
export function createMarket(count: number, newId: (prefix: string) => string, random: Random): Market {
  const cityCount = Math.max(1, Math.min(60, Math.floor(count / 15)));
  const cityCountries = Array.from({ length: cityCount }, (_, i) => (i === 0 ? 'DE' : oneOf(countries, random)));
  const cityTotals = cumulate(cityCountries.map((_, i) => 1 / (i + 1) ** 0.8));
  const categoryTotals = cumulate(categories.map((c) => c.terminals));
  const terminals: Terminal[] = [];
  // The first few make sure that every city has shops, valuable ones too, and that there are online shops.
  for (let i = 0; i < count; i++) {
    const city = i < 2 * cityCount ? i % cityCount : i < 2 * cityCount + 4 ? -1 : undefined;
    const drawn = categories[drawWeighted(categoryTotals, random)];
    const seeded = i < cityCount ? categories[0] : categories[7];
    terminals.push(
      createTerminal(city === undefined ? drawn : seeded, city, { cityCountries, cityTotals }, newId, random),
    );
  }
  const weights = terminals.map((t) => t.category.traffic / between(1, count, random) ** 0.7);
  const select = (isWanted: (terminal: Terminal) => boolean): Choice => {
    const indexes = terminals.flatMap((terminal, i) => (isWanted(terminal) ? [i] : []));
    return { terminals: indexes.map((i) => terminals[i]), totals: cumulate(indexes.map((i) => weights[i])) };
  };
  return {
    cityCountries,
    cityTotals,
    inCity: cityCountries.map((_, city) => select((t) => t.city === city)),
    valuableInCity: cityCountries.map((_, city) => select((t) => t.city === city && t.category.valuable)),
    online: select((t) => t.city < 0),
    valuableOnline: select((t) => t.city < 0 && t.category.valuable),
  };
}

function createTerminal(
  kind: MerchantCategory,
  place: number | undefined,
  market: Pick<Market, 'cityCountries' | 'cityTotals'>,
  newId: (prefix: string) => string,
  random: Random,
): Terminal {
  const isOnline = place === undefined ? chance(kind.online, random) : place < 0;
  const city = isOnline ? -1 : (place ?? drawWeighted(market.cityTotals, random));
  return {
    id: newId('m_'),
    category: kind,
    country: isOnline ? oneOf(countries, random) : market.cityCountries[city],
    city,
    priceLevel: logNormal(1, 0.25, random),
    stripeOnly: !isOnline && kind.mcc !== transit && chance(0.03, random),
    agent: isOnline && chance(0.08, random) ? { id: newId('d_'), ip: homeAddress(random) } : undefined,
  };
}

/** Whether the terminal does business at the hour; hours past 24 are those after midnight. */
export function isOpen(terminal: Terminal, at: number): boolean {
  const [from, to] = terminal.category.open;
  return terminal.city < 0 || (at >= from && at < to) || at + 24 < to;
}

export const takesContactlessOnly = (terminal: Terminal): boolean => terminal.category.mcc === transit;

/** A fixed line's address (private range 10/8, so that nobody's real one appears). */
export const homeAddress = (random: Random): string =>
  `10.${random.below(256)}.${random.below(256)}.${between(1, 254, random)}`;

/** A mobile operator's shared address (100.64/10, few of them, so that strangers share one). */
export const mobileAddress = (random: Random): string => `100.64.${random.below(8)}.${between(1, 254, random)}`;
