/** A topic's logs, partition by partition. */
export interface TopicLog<R> {
  readonly partitions: PartitionLog<R>[];
}

/** Offsets are indexes; what is deleted by retention stays here, so that the run can be judged by all that ever was. */
export interface PartitionLog<R> {
  /** undefined: a control record, which takes up an offset and is never given out. */
  readonly entries: (R | undefined)[];
  /** First offset that is still given out. */
  earliest: number;
  /** Called once at the next append. */
  readonly waiting: Set<() => void>;
}

export interface InputRecord {
  readonly key: Buffer;
  readonly value: Buffer | null;
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
}

export function createTopic<R>(partitions: number): TopicLog<R> {
  return { partitions: Array.from({ length: partitions }, () => emptyPartition<R>()) };
}

export function emptyPartition<R>(): PartitionLog<R> {
  return { entries: [], earliest: 0, waiting: new Set() };
}

/** @returns the entry's offset. */
export function append<R>(log: PartitionLog<R>, entry: R | undefined): number {
  const offset = log.entries.push(entry) - 1;
  const waiting = [...log.waiting];
  log.waiting.clear();
  for (const wake of waiting) wake();
  return offset;
}
