import { WeirError } from '../runtime/errors.ts';

/**
 * The state store port: where sub-states live outside the process. Two adapters: redis/store.ts and embedded/store.ts; both pass
 * test/contract/state-store.ts.
 *
 * A sub-state is what one source partition's log says of one entity. It is written whole by the partition's owner with the log
 * offset it reaches, and a write counts only if its offset is greater than the stored one: writing twice and writing late
 * are harmless.
 */
export interface StateStore {
  /**
   * The sub-states of the given entities, one answer per request, in the order of the requests. An entity that the store does
   * not know has no sub-states and version 0.
   * @param owned partitions whose sub-states the caller holds already and wants left out where a request's version is not 0.
   * @param watched by partition: the offset (exclusive) through which its state is known to have been all there, -1 where that is not known. Answers name those of which it is
   *   not, or of which there was more before. An own one counts from what fence() or flush() said.
   */
  load(
    requests: readonly LoadRequest[],
    owned: ReadonlySet<string>,
    watched?: ReadonlyMap<string, number>,
  ): Promise<LoadedEntity[]>;

  /**
   * Stores the changes of one partition, each only if its offset is greater than the stored one, and then advances the
   * partition's fence in every slot group, never backwards. After it resolves, everything through `fence` is stored. Whoever loads the
   * last change finds all the others stored as well. A partition has one flush at a time.
   * When it rejects, some changes may be stored and the fence may have advanced in some groups, each rightly.
   * @throws WeirError STORE; its cause is a LostStateError when the store has less than it had confirmed (the fence is lower than it was):
   *   repeating the call cannot help then, the partition has to ask for its fence and re-apply the log from there.
   */
  flush(partition: string, changes: readonly SubStateChange[], fence: number): Promise<void>;

  /**
   * The offset (exclusive) through which every sub-state of the partition is stored: the lowest over the slot groups; undefined
   * when any group has none (a new partition, or lost data). From now on flush() goes by what this answers.
   */
  fence(partition: string): Promise<number | undefined>;

  /**
   * Drops one partition's sub-state of an entity, because it cannot be read, and the partition's fence with it: whoever owns the partition
   * finds data lost at its next flush and re-applies the log. A fifth method, since no other may take anything away.
   */
  discard(partition: string, entity: { readonly type: string; readonly id: string }): Promise<void>;

  close(): Promise<void>;
}

/** The bytes of a sub-state are truncated or altered. */
export class DamagedStateError extends Error {}

/** Why a call was refused: what was stored before is gone. */
export class LostStateError extends Error {}

export function lostState(partition: string): WeirError {
  return new WeirError(
    'STORE',
    `the store has lost state of partition ${partition} that it had confirmed (a restart without persistence, a fail-over, or keys removed); it is made anew from the log`,
    { cause: new LostStateError('the partition has to ask for its fence and re-apply the log from there') },
  );
}

export interface LoadRequest {
  /** Entity type, e.g. "card". */
  readonly type: string;
  readonly id: string;
  /** The version seen at the last load, 0 for never: an unchanged entity answers the same version and no sub-states. */
  readonly version: number;
}

export interface LoadedEntity {
  readonly version: number;
  readonly subStates: readonly StoredSubState[];
  /** Of the watched partitions: those whose state is not, or no longer, all there where the entity is kept. Absent: none. */
  readonly lost?: readonly string[];
}

export interface StoredSubState {
  /** "stream:partition" */
  readonly partition: string;
  /** The log offset (exclusive) that the sub-state reaches. */
  readonly offset: number;
  /** Encoded by features/codec.ts. */
  readonly bytes: Uint8Array;
}

export interface SubStateChange {
  readonly type: string;
  readonly id: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}
