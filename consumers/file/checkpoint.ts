import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { describeError, WeirError } from '../../runtime/errors.ts';

const length = z.int().min(0);

/** How far the output files go, and which input that is: everything behind these lengths was never committed. */
const checkpoint = z.strictObject({
  version: z.literal(1),
  /** Input position by partition name. */
  positions: z.record(z.string(), length),
  /** Mark of each partition's input, where it has one. */
  inputs: z.record(z.string(), z.string()).default({}),
  /** Bytes of the risk event file. */
  events: length,
  /** Bytes of the dead letter file. */
  deadLetters: length,
});

export type Checkpoint = Readonly<Omit<z.output<typeof checkpoint>, 'version'>>;

/** @throws WeirError OUTPUT when there is something else at the path. */
export async function readCheckpoint(path: string): Promise<Checkpoint | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new WeirError('OUTPUT', `the checkpoint ${path} cannot be read: ${describeError(error)}`, { cause: error });
  }
  try {
    const { version: _, ...read } = checkpoint.parse(JSON.parse(text));
    return read;
  } catch (error) {
    throw new WeirError('OUTPUT', `${path} is no checkpoint of weir: move it and the output files away to begin anew`, {
      cause: error,
    });
  }
}

/** Replaces the checkpoint as a whole: whatever happens, a reader sees the old one or the new one. */
export async function writeCheckpoint(
  path: string,
  { positions, inputs, events, deadLetters }: Checkpoint,
): Promise<void> {
  const next = `${path}.next`;
  const text = JSON.stringify({ version: 1, positions, inputs, events, deadLetters });
  await writeFile(next, `${text}\n`, { flush: true });
  await rename(next, path);
  await syncFolder(path);
}

/** A new or renamed file is on the disk for sure only once its folder is. */
export async function syncFolder(path: string): Promise<void> {
  // Windows has no such call.
  if (process.platform === 'win32') return;
  const folder = await open(dirname(path));
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
