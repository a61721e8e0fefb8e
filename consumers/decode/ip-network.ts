/** "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255" */
const longestAddress = 45;

/**
 * The network of an IP address as canonical text (RFC 5952): "10.1.2.0/24", "2001:db8::/32". An IPv4 address written as IPv6
 * (::ffff:10.1.2.3) is that IPv4 address, so that it has one network however a server writes it down.
 * @param v4Bits,v6Bits prefix lengths.
 * @returns undefined where the text is no IP address; one with a zone (fe80::1%eth0) means nothing elsewhere, and is none.
 */
export function ipNetwork(text: string, v4Bits: number, v6Bits: number): string | undefined {
  if (text.length > longestAddress) return undefined;
  const address = ipv4Address(text);
  if (address >= 0) return ipv4Network(address, v4Bits);
  const groups = ipv6Groups(text);
  if (groups === undefined) return undefined;
  const isMapped = groups[5] === 0xffff && groups.every((group, index) => group === 0 || index >= 5);
  return isMapped ? ipv4Network(groups[6] * 0x10000 + groups[7], v4Bits) : ipv6Network(groups, v6Bits);
}

/** Four decimal numbers as one; -1 where the text is anything else, leading zeros included: some take them for octal. */
function ipv4Address(text: string): number {
  let address = 0;
  let part = 0;
  let digits = 0;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit >= 0 && digit <= 9) {
      if (digits > 0 && part === 0) return -1;
      part = part * 10 + digit;
      digits++;
      if (part > 255) return -1;
    } else {
      if (digit !== -2 || digits === 0) return -1;
      address = address * 256 + part;
      part = 0;
      digits = 0;
      dots++;
    }
  }
  return dots === 3 && digits > 0 ? address * 256 + part : -1;
}

function ipv4Network(address: number, bits: number): string {
  const start = address - (address % 2 ** (32 - bits));
  return `${start >>> 24}.${(start >>> 16) & 255}.${(start >>> 8) & 255}.${start & 255}/${bits}`;
}

/** Eight numbers of 16 bits; undefined where the text is no IPv6 address. */
function ipv6Groups(text: string): number[] | undefined {
  const [head, tail, ...more] = text.split('::');
  const before = groupsOf(head, tail === undefined);
  if (before === undefined || more.length > 0) return undefined;
  if (tail === undefined) return before.length === 8 ? before : undefined;
  const after = groupsOf(tail, true);
  if (after === undefined || before.length + after.length > 7) return undefined;
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** What stands on one side of "::"; the last of an address may be an IPv4 address, which is two groups. */
function groupsOf(side: string, isEnd: boolean): number[] | undefined {
  if (side === '') return [];
  const groups: number[] = [];
  const texts = side.split(':');
  for (let index = 0; index < texts.length; index++) {
    const text = texts[index];
    if (/^[\da-f]{1,4}$/i.test(text)) {
      groups.push(Number.parseInt(text, 16));
      continue;
    }
    const address = isEnd && index === texts.length - 1 ? ipv4Address(text) : -1;
    if (address < 0) return undefined;
    groups.push(Math.floor(address / 0x10000), address % 0x10000);
  }
  return groups;
}

function ipv6Network(groups: number[], bits: number): string {
  for (let index = 0; index < 8; index++) {
    const kept = Math.min(16, Math.max(0, bits - 16 * index));
    groups[index] -= groups[index] % 2 ** (16 - kept);
  }
  const { from, length } = longestZeros(groups);
  const texts = groups.map((group) => group.toString(16));
  if (length < 2) return `${texts.join(':')}/${bits}`;
  return `${texts.slice(0, from).join(':')}::${texts.slice(from + length).join(':')}/${bits}`;
}

/** The first of the longest runs of zeros. */
function longestZeros(groups: readonly number[]): { from: number; length: number } {
  let longest = { from: 0, length: 0 };
  for (let from = 0; from < 8; from++) {
    let length = 0;
    while (from + length < 8 && groups[from + length] === 0) length++;
    if (length > longest.length) longest = { from, length };
  }
  return longest;
}
