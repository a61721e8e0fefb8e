/** Partitions of this process that are behind what is committed of them: what is shared with them is not what it should be. */
export interface Behind {
  /** The partition, owned or about to be, may be behind; or is not any more. */
  suspect(partition: string, isSuspect: boolean): void;
  /** The partition re-applies what is committed of it. */
  replays(partition: string): void;
  /** Whether any may be, and whether any is known to be. */
  readonly maybe: boolean;
  readonly surely: boolean;
}

export function trackBehind(): Behind {
  const suspected = new Set<string>();
  const replaying = new Set<string>();
  return {
    suspect(partition, isSuspect) {
      if (isSuspect) suspected.add(partition);
      else suspected.delete(partition);
      if (!isSuspect) replaying.delete(partition);
    },
    replays(partition) {
      if (suspected.has(partition)) replaying.add(partition);
    },
    get maybe() {
      return suspected.size > 0;
    },
    get surely() {
      return replaying.size > 0;
    },
  };
}
