import { z } from 'zod';

/** A path in the config: relative ones are resolved against the config file's folder by the loader. */
export function filePath() {
  return z.string().min(1).meta({ format: 'path' });
}
