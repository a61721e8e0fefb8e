import type { StoredSubState } from './store.ts';

/**
 * The state store seen from outside, for people: nothing is changed, no lock is taken, and the job may be running. Two adapters:
 * redis/reader.ts and embedded/reader.ts; both pass test/contract/store-reader.ts.
 */
export interface StoreReader {
  /** What the store holds of an entity, by partition name; empty when it does not know it. */
  read(type: string, id: string): Promise<InspectedSubState[]>;
  /** Of each partition in turn, the offset (exclusive) through which all its state is stored; undefined: none is known. */
  fences(partitions: readonly string[]): Promise<(number | undefined)[]>;
  close(): Promise<void>;
}

export interface InspectedSubState extends StoredSubState {
  /** The offset (exclusive) through which all that the partition's log says of the entity is stored; undefined: not known. */
  readonly fence: number | undefined;
}

export function byPartition(subStates: InspectedSubState[]): InspectedSubState[] {
  return subStates.sort((a, b) => a.partition.localeCompare(b.partition, 'en', { numeric: true }));
}
