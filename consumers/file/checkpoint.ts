import { readFile, rename, writeFile } from 'node:fs/promises';
import { describeError, WeirError } from '../../runtime/errors.ts';

/** How far the output files go, and which input that is: everything behind these lengths was never committed. */
export interface Checkpoint {
  /** Input position by partition name. */
  readonly positions: Readonly<Record<string, number>>;
  /** Bytes of the risk event file. */
  readonly events: number;
  /** Bytes of the dead letter file. */
  readonly deadLetters: number;
}

const formatVersion = 1;

export async function readCheckpoint(path: string): Promise<Checkpoint | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new WeirError('OUTPUT', `the checkpoint ${path} cannot be read: ${describeError(error)}`, { cause: error });
  }
  try {
    const { version, ...checkpoint } = JSON.parse(text) as Checkpoint & { version: number };
    if (version === formatVersion) return checkpoint;
  } catch {
    // Falls through to the one sentence for every unreadable content.
  }
  throw new WeirError('OUTPUT', `${path} is no checkpoint of weir: move it and the output files away to begin anew`);
}

/** Replaces the checkpoint as a whole: a reader sees the old one or the new one. */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint): Promise<void> {
  const next = `${path}.next`;
  await writeFile(next, `${JSON.stringify({ version: formatVersion, ...checkpoint })}\n`, { flush: true });
  await rename(next, path);
}
