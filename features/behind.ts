/** Partitions of this process that are behind what is committed of them: what is shared with them is not what it should be. */
export interface Behind {
  /** The partition, owned or about to be, may be behind; or is not any more. */
  suspect(partition: string, isSuspect: boolean): void;
  /** The partition re-applies what is committed of it. */
  replays(partition: string): void;
  /** The partition goes on without the store, until it is not suspected any more. */
  cutOff(partition: string): void;
  /**
   * Whether what an entity shares with them may be missing. Few keys have moved to any one partition: of theirs a suspicion is not enough, or each gain
   * would cast doubt on nearly all; that partitions are kept in step sees to it that nothing is missing until it is certain.
   */
  concerns(isMovedKey: boolean): boolean;
}

/** @param toleranceMs by how much partitions are kept in step; Infinity: they are not. */
export function trackBehind(toleranceMs: number): Behind {
  const suspected = new Set<string>();
  const certain = new Set<string>();
  return {
    suspect(partition, isSuspect) {
      if (isSuspect) suspected.add(partition);
      else suspected.delete(partition);
      if (!isSuspect) certain.delete(partition);
    },
    replays(partition) {
      if (suspected.has(partition)) certain.add(partition);
    },
    cutOff(partition) {
      suspected.add(partition);
      certain.add(partition);
    },
    concerns(isMovedKey) {
      return (isMovedKey && toleranceMs !== Number.POSITIVE_INFINITY ? certain : suspected).size > 0;
    },
  };
}
