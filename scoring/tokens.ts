import { createHmac } from 'node:crypto';

export interface TokenSource {
  /** The token of an entity's id; '' for ''. */
  tokenOf(entity: string, id: string): string;
}

/** Tokens kept of each entity: a hash takes a few microseconds, a look-up a tenth of one. */
const keptPerEntity = 100_000;

/**
 * Keyed hashes that stand for ids in outputs: the first 32 hex digits of HMAC-SHA256(secret, "entity:id"). Equal ids of one entity
 * have equal tokens, so subscribers can still group by them; without the secret nobody gets from a token to an id.
 */
export function createTokens(secret: string, kept = keptPerEntity): TokenSource {
  // Two generations: the older one is dropped whole when the younger one is full.
  const caches = new Map<string, { young: Map<string, string>; old: Map<string, string> }>();
  return {
    tokenOf(entity, id) {
      if (id === '') return '';
      let cache = caches.get(entity);
      if (!cache) {
        cache = { young: new Map(), old: new Map() };
        caches.set(entity, cache);
      }
      const known = cache.young.get(id);
      if (known !== undefined) return known;
      const token =
        cache.old.get(id) ?? createHmac('sha256', secret).update(`${entity}:${id}`).digest('hex').slice(0, 32);
      if (cache.young.size >= kept / 2) {
        cache.old = cache.young;
        cache.young = new Map();
      }
      cache.young.set(id, token);
      return token;
    },
  };
}
