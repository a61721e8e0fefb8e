/**
 * A 48-bit hash of a text (two multiply-xorshift lanes of 32 bits as in cyrb53 by bryc, public domain), never 0: 0 stands for
 * no value. Two different texts are taken for equal with a probability of 2^-48.
 */
export function textHash(text: string): number {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    high = Math.imul(high ^ unit, 2654435761);
    low = Math.imul(low ^ unit, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  const hash = (high & 0xffff) * 2 ** 32 + (low >>> 0);
  return hash === 0 ? 1 : hash;
}
