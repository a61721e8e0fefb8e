/** What the group's coordinator gave to this process. */
export interface Assignment {
  /** The name of the membership; who was thought dead gets another one. */
  readonly memberId: string;
  /** Counts the group's assignments. */
  readonly generation: number;
  readonly partitions: readonly number[];
}

/** What an assignment changes for the process that had another one before. */
export interface AssignmentChange {
  readonly kept: readonly number[];
  readonly gained: readonly number[];
  readonly lost: readonly number[];
}

/**
 * Kept is what the process had and has again, when nobody else can have had it in between: the same member was given it by two
 * generations that follow one another. A generation that it missed, or that knew it no more, may have given its partitions to others,
 * who may have given them back: then all is lost, and what it has now is gained anew.
 */
export function assignmentChange(before: Assignment | undefined, now: Assignment): AssignmentChange {
  if (before === undefined) return { kept: [], gained: now.partitions, lost: [] };
  const missed = now.generation - before.generation;
  if (before.memberId !== now.memberId || missed < 0 || missed > 1)
    return { kept: [], gained: now.partitions, lost: before.partitions };
  return {
    kept: now.partitions.filter((partition) => before.partitions.includes(partition)),
    gained: now.partitions.filter((partition) => !before.partitions.includes(partition)),
    lost: before.partitions.filter((partition) => !now.partitions.includes(partition)),
  };
}
