import { decodeFrontier, type Frontier, frontierId, frontierType } from '../features/frontier.ts';
import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { openStoreReader, type Surroundings } from './components.ts';

/** How far the state store says that partitions have come. */
export interface StoredProgress {
  /** By partition's name, the offset (exclusive) through which all its state is stored. */
  readonly fences: ReadonlyMap<string, number>;
  /** By partition's name, where it stands in event time. None of a job without `alignment`. */
  readonly frontiers: ReadonlyMap<string, Frontier>;
  /** Why the store could not be asked; nothing is known of it then. */
  readonly fault: WeirError | undefined;
}

/** For people who look at a fleet: a store that is away is part of what they see. */
export async function readProgress(
  job: CompiledJob,
  surroundings: Surroundings,
  partitions: readonly string[],
): Promise<StoredProgress> {
  try {
    const reader = await openStoreReader(job, surroundings);
    try {
      const fences = await reader.fences(partitions);
      const said = await reader.read(frontierType, frontierId);
      return {
        fences: new Map(
          partitions.flatMap((name, index) => (fences[index] === undefined ? [] : [[name, fences[index]]])),
        ),
        frontiers: new Map(said.map(({ partition, bytes }) => [partition, decodeFrontier(bytes)])),
        fault: undefined,
      };
    } finally {
      await reader.close();
    }
  } catch (error) {
    if (!(error instanceof WeirError) || error.code !== 'STORE') throw error;
    return { fences: new Map(), frontiers: new Map(), fault: error };
  }
}
