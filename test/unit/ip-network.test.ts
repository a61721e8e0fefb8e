import { isIP } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ipNetwork } from '../../consumers/decode/ip-network.ts';

const v4Bits = fc.integer({ min: 8, max: 32 });
const v6Bits = fc.integer({ min: 8, max: 128 });
const v4Number = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n });
/** Many groups that are 0 or nearly, as in real addresses. */
const v6Number = fc
  .array(fc.oneof(fc.constant(0), fc.constantFrom(1, 0xf, 0xffff), fc.integer({ min: 0, max: 0xffff })), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => groups.reduce((number, group) => number * 65_536n + BigInt(group), 0n));

const dotted = (number: bigint) => [24n, 16n, 8n, 0n].map((shift) => (number >> shift) & 255n).join('.');
const eightGroups = (number: bigint) =>
  Array.from({ length: 8 }, (_, index) => ((number >> BigInt(112 - 16 * index)) & 65_535n).toString(16));
/** The first address of the network. */
const masked = (number: bigint, width: bigint, bits: number) => {
  const size = 2n ** (width - BigInt(bits));
  return number - (number % size);
};

/** RFC 5952, section 4, from the full text. */
function canonical(groups: readonly string[]): string {
  const full = groups.join(':');
  for (let zeros = 8; zeros >= 2; zeros--) {
    for (let from = 0; from + zeros <= 8; from++) {
      if (groups.slice(from, from + zeros).some((group) => group !== '0')) continue;
      return `${groups.slice(0, from).join(':')}::${groups.slice(from + zeros).join(':')}`;
    }
  }
  return full;
}

/** Every way to write the address: full, padded, upper case, with any run of zeros left out, with an IPv4 tail. */
const spelling = (number: bigint) =>
  fc.tuple(fc.nat(7), fc.integer({ min: 1, max: 8 }), fc.boolean(), fc.boolean(), fc.boolean()).map((choice) => {
    const [from, length, isCut, isUpper, hasTail] = choice;
    let groups = eightGroups(number).map((group) => (isUpper ? group.toUpperCase().padStart(4, '0') : group));
    const tail = hasTail ? [dotted(number & 0xffff_ffffn)] : [];
    if (hasTail) groups = groups.slice(0, 6);
    const end = Math.min(groups.length, from + length);
    const canCut = isCut && from < end && groups.slice(from, end).every((group) => Number.parseInt(group, 16) === 0);
    if (!canCut) return [...groups, ...tail].join(':');
    return `${groups.slice(0, from).join(':')}::${[...groups.slice(end), ...tail].join(':')}`;
  });

const isMapped = (number: bigint) => number >> 32n === 0xffffn;

describe('the network of an IP address', () => {
  it('is that of its number: IPv4', () => {
    fc.assert(
      fc.property(v4Number, v4Bits, v6Bits, (number, bits, other) => {
        expect(ipNetwork(dotted(number), bits, other)).toBe(`${dotted(masked(number, 32n, bits))}/${bits}`);
      }),
      { numRuns: 2000 },
    );
  });

  it('is that of its number, however it is written: IPv6', () => {
    const written = v6Number.chain((number) => fc.tuple(fc.constant(number), spelling(number)));
    fc.assert(
      fc.property(written, v4Bits, v6Bits, ([number, text], other, bits) => {
        expect(isIP(text)).toBe(6);
        fc.pre(!isMapped(number));
        const groups = eightGroups(masked(number, 128n, bits));
        expect(ipNetwork(text, other, bits)).toBe(`${canonical(groups)}/${bits}`);
      }),
      { numRuns: 5000 },
    );
  });

  it('is the same for an IPv4 address in the clothes of IPv6', () => {
    const mapped = v4Number.chain((number) => fc.tuple(fc.constant(number), spelling((0xffffn << 32n) | number)));
    fc.assert(
      fc.property(mapped, v4Bits, v6Bits, ([number, text], bits, other) => {
        expect(ipNetwork(text, bits, other)).toBe(ipNetwork(dotted(number), bits, other));
      }),
    );
  });

  it('is none where the text is no address', () => {
    const piece = fc.constantFrom(
      '0',
      '1',
      'f',
      '00',
      '255',
      '256',
      '01',
      'ffff',
      '10000',
      '.',
      ':',
      '::',
      '1.2.3.4',
      ' ',
      'g',
      '-',
      '/',
    );
    const number = fc.constantFrom('0', '9', '10', '255', '256', '260', '01', '1000', '');
    const almostV4 = fc.array(number, { minLength: 3, maxLength: 5 }).map((parts) => parts.join('.'));
    const group = fc.constantFrom('0', '1f', 'FFFF', '10000', '1.2.3.4', '');
    const almostV6 = fc.array(group, { minLength: 3, maxLength: 9 }).map((parts) => parts.join(':'));
    const almost = fc.array(piece, { maxLength: 18 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(fc.oneof(almost, almostV4, almostV6, fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
        expect(ipNetwork(text, 24, 64) !== undefined).toBe(isIP(text) !== 0 && !text.includes('%'));
      }),
      { numRuns: 20_000 },
    );
  });

  it.each([
    ['192.168.17.9', '192.168.17.0/24'],
    ['255.255.255.255', '255.255.255.0/24'],
    ['2001:DB8:0:0:1::9', '2001:db8::/56'],
    ['::', '::/56'],
    ['::1', '::/56'],
    ['::ffff:10.1.2.3', '10.1.2.0/24'],
    ['::ffff:a01:203', '10.1.2.0/24'],
    ['1:2:3:4ff:5:6:7:8', '1:2:3:400::/56'],
    ['010.1.2.3', undefined],
    ['10.1.2', undefined],
    ['10.1.2.3.4', undefined],
    ['fe80::1%eth0', undefined],
    ['[::1]', undefined],
    ['1::2::3', undefined],
    ['1:2:3:4:5:6:7:8::', undefined],
    ['1.2.3.4::', undefined],
    ['1:2:3.4.5.6:7:8:9:10', undefined],
    ['1.2.3.256', undefined],
    ['', undefined],
  ])('%s: %s', (text, network) => {
    expect(ipNetwork(text, 24, 56)).toBe(network);
  });

  it('costs no more for an endless text', () => {
    expect(ipNetwork(':'.repeat(1_000_000), 24, 64)).toBeUndefined();
  });
});
