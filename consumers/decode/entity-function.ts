import { closest } from '../../runtime/closest.ts';
import { ipNetwork } from './ip-network.ts';
import { show, type ValueFault } from './values.ts';

/** Makes an entity's id of a record's id; never an empty one. */
export type EntityFunction = (id: string) => string | ValueFault;

/** Names as they may stand in `as`, for editors and for finding what was meant. */
export const entityFunctionExamples = ['ip/24', 'ip/24/56', 'ip/64', 'email', 'email-domain', 'bin', 'bin/8', 'lower'];

const named: Readonly<Record<string, EntityFunction>> = {
  lower: (id) => id.toLowerCase(),
  email: (id) => id.trim().toLowerCase(),
  'email-domain': emailDomain,
  bin: firstDigits(6),
  'bin/6': firstDigits(6),
  'bin/8': firstDigits(8),
};

/** @returns what is wrong with the name where there is no such function. */
export function entityFunction(name: string): EntityFunction | { readonly message: string } {
  if (Object.hasOwn(named, name)) return named[name];
  if (!name.startsWith('ip')) {
    const list = 'ip/N, ip/N/M, email, email-domain, bin, bin/8, lower';
    return { message: `there is no function ${name}${closest(name, entityFunctionExamples)}; there are ${list}` };
  }
  const [, first, second] = /^ip\/([1-9]\d{0,2})(?:\/([1-9]\d{0,2}))?$/.exec(name) ?? [];
  const v4Bits = Number(first);
  const v6Bits = Number(second ?? first);
  if (!(v4Bits >= 8 && v4Bits <= (second === undefined ? 128 : 32) && v6Bits >= 8 && v6Bits <= 128)) {
    return {
      message: `${name} is no network: ip/24 is of 24 bits (8 to 32 for IPv4, 8 to 128 for IPv6), ip/24/56 of 24 for IPv4 and 56 for IPv6`,
    };
  }
  return (id) => ipNetwork(id, Math.min(32, v4Bits), v6Bits) ?? wrong(id, 'an IP address');
}

function emailDomain(id: string): string | ValueFault {
  const domain = id.slice(id.lastIndexOf('@') + 1).trim();
  return domain === '' || !id.includes('@') ? wrong(id, 'an e-mail address') : domain.toLowerCase();
}

/** Of a card number, which may be grouped by spaces or hyphens and masked behind the digits that are asked for. */
function firstDigits(count: number): EntityFunction {
  const digits = new RegExp(`^\\d{${count}}`);
  return (id) => digits.exec(id.replaceAll(/[ -]/g, ''))?.[0] ?? wrong(id, `a card number's first ${count} digits`);
}

function wrong(id: string, expected: string): ValueFault {
  return { reason: 'wrong-type', message: `expected ${expected}, got ${show(id)}` };
}

const special = /[\\|]/;

/**
 * One id of several: `card|terminal`. A `|` or `\` within a part has a `\` before it, so that different parts never give the same id.
 * @param joined of the parts before; '' for none.
 */
export function joinIds(joined: string, part: string): string {
  const escaped = special.test(part) ? part.replaceAll(/[\\|]/g, '\\$&') : part;
  return joined === '' ? escaped : `${joined}|${escaped}`;
}
