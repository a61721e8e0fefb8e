/** Redis Cluster's slots: a key belongs to the slot that the CRC16 of its hash tag says. */
export const slotCount = 16_384;

/** By the Redis Cluster specification: CRC16 of XMODEM, polynomial 0x1021. */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc;
});

function crc16(text: string, from = 0): number {
  let crc = from;
  for (const byte of Buffer.from(text)) crc = ((crc << 8) & 0xffff) ^ table[(crc >> 8) ^ byte];
  return crc;
}

/** The slot of a key with this hash tag. */
export function slotOf(tag: string): number {
  return crc16(tag) % slotCount;
}

/**
 * Hash tags whose slots lie evenly over all: the k-th in the middle of the k-th part of the slots, so that nodes which have a stretch of slots
 * each get nearly the same number of tags. Each is the stem, its number, and a number that brings about the slot.
 */
export function spreadTags(stem: string, count: number): string[] {
  const width = slotCount / count;
  return Array.from({ length: count }, (_, index) => {
    const prefix = `${stem}:${index}:`;
    const crc = crc16(prefix);
    const [from, to] = [(index + 0.375) * width, (index + 0.625) * width];
    for (let n = 0; ; n++) {
      const slot = crc16(String(n), crc) % slotCount;
      if (slot >= from && slot < to) return `${prefix}${n}`;
    }
  });
}

/** Who has which slots: addresses (host:port) of primaries. */
export interface SlotRange {
  readonly first: number;
  readonly last: number;
  readonly address: string;
}

/**
 * Reads the answer to CLUSTER SLOTS.
 * @param askedHost stands for a node that does not know its own address.
 */
export function readSlotRanges(reply: unknown, askedHost: string): SlotRange[] {
  return (reply as readonly [number, number, readonly [unknown, number]][]).map(([first, last, [host, port]]) => {
    const named = host === null ? '' : String(host);
    return { first, last, address: `${named === '' || named === '?' ? askedHost : named}:${port}` };
  });
}

export function ownerOf(slot: number, ranges: readonly SlotRange[]): string | undefined {
  return ranges.find(({ first, last }) => first <= slot && slot <= last)?.address;
}
