/**
 * Takes partitions' state back to an earlier position of their logs, for an operator, while nobody else writes it. What is dropped is
 * made anew from the log by whoever owns the partition next. Two adapters: redis/rewinder.ts and embedded/rewinder.ts; both pass
 * test/contract/rewinder.ts.
 */
export interface Rewinder {
  /** Of each partition in turn, the offset (exclusive) through which all its state is stored; undefined: none is known. */
  fences(partitions: readonly string[]): Promise<(number | undefined)[]>;

  /**
   * How many sub-states of each partition reach beyond its limit: they hold events at or behind that offset. Frontiers do not count: what
   * rises with each of them is no offset of the log.
   */
  countBeyond(limits: Limits): Promise<Map<string, number>>;

  /**
   * Drops these sub-states, and before them the fences and frontiers of all partitions named: interrupted anywhere, what is left is found
   * incomplete and made anew from the log. Those that reach no further stay, and lose nothing.
   * @param demand called before each step; what it throws ends the work there.
   * @returns how many were dropped, by partition.
   * @throws WeirError STORE when somebody has stored a fence meanwhile.
   */
  eraseBeyond(limits: Limits, demand: () => void): Promise<Map<string, number>>;

  close(): Promise<void>;
}

/** By partition ("stream:partition"), a position of its log. */
export type Limits = ReadonlyMap<string, number>;
