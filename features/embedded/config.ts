import { z } from 'zod';
import { filePath } from '../../runtime/config/path.ts';

export const embeddedStoreConfig = z.strictObject({
  path: filePath().meta({ description: 'Folder of the LMDB store, made when it is not there; one process at a time' }),
});

export type EmbeddedStoreConfig = z.output<typeof embeddedStoreConfig>;
