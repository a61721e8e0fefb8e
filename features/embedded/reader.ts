import { type Database, open, type RootDatabase } from 'lmdb';
import type { Clock } from '../../runtime/clock.ts';
import { describeError } from '../../runtime/errors.ts';
import { byPartition, type StoreReader } from '../store-reader.ts';
import type { EmbeddedStoreConfig } from './config.ts';
import { fencesOf, readStateFacts } from './database.ts';
import { entityKey, readEntity } from './entry.ts';
import { checkStateFolder, damaged } from './folder.ts';

export interface EmbeddedReaderOptions {
  readonly job: string;
  readonly recipe: string;
  readonly clock: Clock;
}

/**
 * LMDB lets other processes read while one writes: each read sees what was last committed.
 * @throws WeirError STORE when there is no state folder, or it is damaged.
 */
export async function createEmbeddedReader(
  { path }: EmbeddedStoreConfig,
  { job, recipe, clock }: EmbeddedReaderOptions,
): Promise<StoreReader> {
  checkStateFolder(path);
  let root: RootDatabase<Buffer, Buffer>;
  try {
    root = open({ path, noSubdir: false, readOnly: true, maxDbs: 64, encoding: 'binary', keyEncoding: 'binary' });
  } catch (error) {
    throw damaged(path, describeError(error));
  }
  const entries = openState(root, `${job}:${recipe}`);
  return {
    async read(type, id) {
      if (entries === undefined) return [];
      // What was committed by now, not when this turn of the event loop read first.
      entries.resetReadTxn();
      const value = entries.getBinary(entityKey(type, id));
      if (value === undefined) return [];
      const { partitions } = readStateFacts(entries)!;
      const now = Math.floor(clock.now() / 1000);
      const names = partitions.map(({ name }) => name);
      const fences = fencesOf(partitions, now);
      const { subStates } = readEntity(value, 0, new Set(), names, now);
      return byPartition(subStates.map((subState) => ({ ...subState, fence: fences.get(subState.partition) })));
    },
    async fences(partitions) {
      entries?.resetReadTxn();
      const known = entries === undefined ? undefined : readStateFacts(entries);
      const fences = fencesOf(known?.partitions ?? [], Math.floor(clock.now() / 1000));
      return partitions.map((partition) => fences.get(partition));
    },
    async close() {
      await root.close();
    },
  };
}

/** undefined where the folder has nothing of the job and recipe. */
function openState(root: RootDatabase<Buffer, Buffer>, name: string): Database<Buffer, Buffer> | undefined {
  try {
    return root.openDB(name, { encoding: 'binary', keyEncoding: 'binary' });
  } catch (error) {
    if (describeError(error).includes('not found')) return undefined;
    throw error;
  }
}
