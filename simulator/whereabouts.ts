import type { Market } from './merchants.ts';
import { emailDomains } from './population.ts';
import { drawnFrom } from './sampling.ts';
import type { Planned } from './spending.ts';

/** Degrees, four decimals (about ten metres). */
export interface Location {
  readonly latitude: number;
  readonly longitude: number;
}

/** Where transactions happen, and under which e-mail address. All of it follows from the seed and the ids. */
export interface Whereabouts {
  /** The terminal's; online, the device's. */
  locationOf(planned: Planned): Location;
  /** Of whoever orders online; undefined at a terminal. @param id of the transaction: the same person may spell it in capitals. */
  emailOf(planned: Planned, id: string): string | undefined;
}

/** Middle and half the extent in degrees. */
const countries: Readonly<Record<string, readonly [Location, Location]>> = {
  DE: [place(51, 10), place(2.5, 3)],
  FR: [place(46.6, 2.4), place(2.5, 3)],
  NL: [place(52.2, 5.3), place(0.6, 0.8)],
  ES: [place(40.2, -3.7), place(2.2, 3)],
  IT: [place(43.5, 11.8), place(1.8, 1.5)],
  AT: [place(47.5, 14.5), place(0.5, 1.5)],
  BE: [place(50.7, 4.6), place(0.4, 1)],
  PT: [place(39.6, -8.1), place(1.8, 0.5)],
  GB: [place(52.6, -1.5), place(1.5, 1.5)],
  US: [place(39.5, -96), place(6, 20)],
};

const givenNames =
  'ana ben carla david elif finn greta hugo ines jürgen kaan lena marco nora oleg pia rosa tom uma zoë'.split(' ');
const familyNames =
  'bauer costa dubois fischer garcia ivanov jansen keller lopez martin nowak peeters rossi silva weber yilmaz'.split(
    ' ',
  );

export function createWhereabouts(seed: number, market: Market): Whereabouts {
  const cities = market.cityCountries.map((country, city) => {
    const [middle, extent] = countries[country];
    return near(middle, extent, `${seed} city ${city}`);
  });
  const inCity = (city: number, what: string) => near(cities[city], townExtent, what);

  function deviceLocation({ customer, terminal, device, fraud, time }: Planned): Location {
    if (device === terminal.agent) return inCity(Math.floor(drawnFrom(device!.id) * cities.length), device!.id);
    const isAway = customer.trip !== undefined && customer.trip.until >= time;
    const city = isAway ? customer.trip!.city : customer.city;
    if (customer.devices.includes(device!.id)) return inCity(city, `${customer.accountId} ${city}`);
    // A device that is not the shopper's: at a friend's, or a thief's, who may be anywhere.
    if (fraud === 'none') return inCity(city, device!.id);
    return inCity(Math.floor(drawnFrom(device!.id) * cities.length), device!.id);
  }

  return {
    locationOf(planned) {
      const { terminal, device } = planned;
      return device === undefined ? inCity(terminal.city, terminal.id) : deviceLocation(planned);
    },
    emailOf({ customer, device, fraud }, id) {
      if (device === undefined) return undefined;
      // Thieves order as guests, with an address of their own.
      const isGuest = fraud === 'card_testing' || fraud === 'compromised_terminal';
      const email = isGuest ? emailAddress(device.id) : emailAddress(customer.accountId, customer.emailDomain);
      return drawnFrom(`${id} email`) < 0.03 ? email.toUpperCase() : email;
    },
  };
}

const townExtent = place(0.08, 0.12);

function emailAddress(owner: string, domain = pick(emailDomains, `${owner} domain`)): string {
  const number = Math.floor(drawnFrom(`${owner} number`) * 10_000);
  return `${pick(givenNames, `${owner} given`)}.${pick(familyNames, `${owner} family`)}${number}@${domain}`;
}

function pick(list: readonly string[], what: string): string {
  return list[Math.floor(drawnFrom(what) * list.length)];
}

function near(middle: Location, extent: Location, what: string): Location {
  const latitude = middle.latitude + (2 * drawnFrom(`${what} latitude`) - 1) * extent.latitude;
  const longitude = middle.longitude + (2 * drawnFrom(`${what} longitude`) - 1) * extent.longitude;
  return place(Number(latitude.toFixed(4)), Number(longitude.toFixed(4)));
}

function place(latitude: number, longitude: number): Location {
  return { latitude, longitude };
}
