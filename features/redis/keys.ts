import { textHash } from '../hash.ts';
import { slotOf, spreadTags } from './slots.ts';

export interface RedisKeysOptions {
  readonly prefix: string;
  readonly job: string;
  readonly recipe: string;
  readonly groups: number;
}

/**
 * Key names in Redis. Everything of a slot group shares one hash tag, so that a Redis Cluster keeps it in one place; the tag names the
 * job, the recipe and the number of groups, so that nothing is ever read under other circumstances than it was written, and spreads the groups
 * over the slots:
 *   weir:{card-risk:9f3a1c2b7d4e:16:3:97}:card:4111…     an entity
 *   weir:{card-risk:9f3a1c2b7d4e:16:3:97}:FENCE:transactions:0   a partition's fence; entity types have no capitals
 *   weir:{card-risk:9f3a1c2b7d4e:16:3:97}:FLUSH:transactions:0   which calls of its last flush of several calls were carried out
 */
export interface RedisKeys {
  groupOf(id: string): number;
  /** By group: the cluster slot of its keys. */
  readonly slots: readonly number[];
  /** By group: what the keys of a type's entities begin with; the entity's id follows. */
  entityPrefixes(type: string): readonly string[];
  /** At least the bytes of an entity's key. */
  bound(entity: { readonly type: string; readonly id: string }, group: number): number;
  fence(group: number, partition: string): string;
  /** Where a flush of several calls notes how many have been carried out. */
  calls(group: number, partition: string): string;
  /** Matches every key of the state, as SCAN has it. */
  readonly pattern: string;
  /** The group that an entity's key says; undefined for any other key. */
  groupOfEntity(key: string): number | undefined;
}

/** Stands where an entity's type does. */
const ofFences = ':FENCE:';
const ofCalls = ':FLUSH:';

export function redisKeys({ prefix, job, recipe, groups }: RedisKeysOptions): RedisKeys {
  const stem = `${job}:${recipe}:${groups}`;
  const hashTags = spreadTags(stem, groups);
  const tags = hashTags.map((tag) => `${prefix}:{${tag}}`);
  const head = `${prefix}:{${stem}:`;
  const byType = new Map<string, string[]>();

  function entityPrefixes(type: string): string[] {
    let prefixes = byType.get(type);
    if (!prefixes) {
      prefixes = tags.map((tag) => `${tag}:${type}:`);
      byType.set(type, prefixes);
    }
    return prefixes;
  }

  return {
    groupOf: (id) => textHash(id) % groups,
    slots: hashTags.map(slotOf),
    entityPrefixes,
    // A UTF-16 unit becomes three bytes at most.
    bound: ({ type, id }, group) => entityPrefixes(type)[group].length + 3 * id.length,
    fence: (group, partition) => `${tags[group]}${ofFences}${partition}`,
    calls: (group, partition) => `${tags[group]}${ofCalls}${partition}`,
    pattern: `${head}*`,
    groupOfEntity(key) {
      const group = Number.parseInt(key.slice(head.length), 10);
      const isOfPartition = [ofFences, ofCalls].some((name) => key.startsWith(name, tags[group]?.length));
      return isOfPartition ? undefined : group;
    },
  };
}
