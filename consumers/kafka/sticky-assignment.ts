/** What one member of the group says of itself when it joins. */
export interface Claimant {
  /** The coordinator's name for the member. */
  readonly id: string;
  /** What the process calls itself, also after a restart. */
  readonly name?: string;
  /** The partitions that it has, and the generation that gave it those. */
  readonly owned: readonly number[];
  readonly generation: number;
}

/**
 * Shares partitions out: each to one member, counts that differ by at most one, and as few as can be move. Of two that claim a partition, the
 * one of the newer generation has it. A process that comes back (it owns nothing, and its name is known) gets what it had when it left.
 * The answer follows from the arguments alone, whatever their order.
 * @param former partitions that names had when they were last in the group.
 */
export function assignSticky(
  partitions: readonly number[],
  members: readonly Claimant[],
  former: ReadonlyMap<string, readonly number[]>,
): Map<string, number[]> {
  const sorted = [...members].sort((a, b) => compare(a.id, b.id));
  const claims = claimsOf(new Set(partitions), sorted, former, Math.ceil(partitions.length / members.length));
  // Those who claim most may have one more than the others, where the partitions do not divide evenly.
  const ranked = sorted.sort((a, b) => claims.get(b.id)!.length - claims.get(a.id)!.length);
  const least = Math.floor(partitions.length / members.length);
  const larger = partitions.length - least * members.length;
  const shares = ranked.map(({ id }, rank) => {
    const share = least + (rank < larger ? 1 : 0);
    return { id, share, has: claims.get(id)!.slice(0, share) };
  });
  const placed = new Set(shares.flatMap(({ has }) => has));
  const free = [...partitions].sort((a, b) => a - b).filter((partition) => !placed.has(partition));
  for (const { share, has } of shares) has.push(...free.splice(0, share - has.length));
  return new Map(shares.map(({ id, has }) => [id, has.sort((a, b) => a - b)]));
}

/** Each partition is claimed by one member at most. */
function claimsOf(
  partitions: ReadonlySet<number>,
  members: readonly Claimant[],
  former: ReadonlyMap<string, readonly number[]>,
  most: number,
): Map<string, number[]> {
  const claimed = new Map<number, { readonly id: string; readonly generation: number }>();
  const working = new Set(members.flatMap(({ name, owned }) => (owned.length > 0 ? [name] : [])));
  for (const { id, name, owned, generation } of members) {
    // Of two of the same name the one that has nothing is a newcomer.
    const isBack = owned.length === 0 && name !== undefined && former.has(name) && !working.has(name);
    const claims = isBack ? former.get(name)!.slice(0, most) : owned;
    for (const partition of claims) {
      const other = claimed.get(partition);
      // What a process had before it left comes before what others have instead meanwhile.
      const weight = isBack ? Number.POSITIVE_INFINITY : generation;
      if (partitions.has(partition) && (other === undefined || other.generation < weight))
        claimed.set(partition, { id, generation: weight });
    }
  }
  const claims = new Map<string, number[]>(members.map(({ id }) => [id, []]));
  for (const partition of [...claimed.keys()].sort((a, b) => a - b))
    claims.get(claimed.get(partition)!.id)!.push(partition);
  return claims;
}

const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));
