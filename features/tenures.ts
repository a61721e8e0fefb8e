/**
 * Since when partitions are owned here. Every gain and every loss is an epoch; an entity remembers the one that it was last loaded in, and
 * whatever changed since is found out when it is used. So neither costs anything per entity in memory.
 */
export interface Tenures {
  /** The present epoch. */
  readonly epoch: number;
  /** From now on the partition is written here. */
  begin(partition: string): void;
  /** From now on the partition is written elsewhere, or what was written here is not to be trusted. */
  end(partition: string): void;
  owns(partition: string): boolean;
  /** The partitions that have been owned all the time since the epoch: of them memory knows more than any store. */
  heldSince(epoch: number): Set<string>;
  /** Whether a tenure of the partition has ended after the epoch: what memory has of it may be what nobody has published. */
  hasEndedSince(epoch: number, partition: string): boolean;
  /** Whether a tenure of the partition, or with none named of any, has begun after the epoch: the store may know more of it than memory. */
  hasBegunSince(epoch: number, partition?: string): boolean;
}

export function createTenures(): Tenures {
  let epoch = 0;
  let lastBegin = 0;
  /** When the present tenures began, and when the last ones ended. */
  const begun = new Map<string, number>();
  const ended = new Map<string, number>();

  return {
    get epoch() {
      return epoch;
    },
    begin(partition) {
      lastBegin = ++epoch;
      begun.set(partition, epoch);
    },
    end(partition) {
      ended.set(partition, ++epoch);
      begun.delete(partition);
    },
    owns: (partition) => begun.has(partition),
    heldSince(since) {
      return new Set([...begun].filter(([, at]) => at <= since).map(([partition]) => partition));
    },
    hasEndedSince: (since, partition) => (ended.get(partition) ?? 0) > since,
    hasBegunSince: (since, partition) => (partition === undefined ? lastBegin : (begun.get(partition) ?? 0)) > since,
  };
}
