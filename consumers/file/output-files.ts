import { mkdirSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { acquireProcessLock } from '../../runtime/process-lock.ts';
import { type Checkpoint, readCheckpoint, syncFolder, writeCheckpoint } from './checkpoint.ts';
import type { FileSinkConfig } from './config.ts';

/** How far which input is read. */
export interface Progress {
  readonly partition: string;
  readonly position: number;
  readonly input: string | undefined;
}

/** Both files and their checkpoint. */
export interface OutputFiles {
  position(partition: string): number | undefined;
  /** Mark of the input that the position is of. */
  input(partition: string): string | undefined;
  /** Appends behind what other partitions append meanwhile. Nothing is appended any more once this has failed. */
  append(progress: Progress, events: Buffer, deadLetters: Buffer): Promise<void>;
  /** Commits all that is appended: the disk has it, and then the checkpoint says so. */
  save(): Promise<void>;
  close(): Promise<void>;
}

/** @throws WeirError OUTPUT when a file cannot be written or another process has it open. */
export async function openOutputFiles(config: FileSinkConfig): Promise<OutputFiles> {
  const checkpointPath = `${config.path}.checkpoint`;
  const lock = acquireProcessLock(`${config.path}.lock`, {
    code: 'OUTPUT',
    what: `the output ${config.path}`,
    advice: 'stop it, or choose another sink.file.path',
  });
  const opened: FileHandle[] = [];
  const closeAll = async () => {
    await Promise.all(opened.map((file) => file.close()));
    lock.release();
  };
  let committed: Checkpoint;
  try {
    committed = (await readCheckpoint(checkpointPath)) ?? (await begin(config, checkpointPath));
    opened.push(await openAt(config.path, committed.events));
    opened.push(await openAt(config.dead_letters, committed.deadLetters));
  } catch (error) {
    await closeAll();
    throw error;
  }
  const [eventFile, deadLetterFile] = opened;
  const appending = createQueue();
  const saving = createQueue();
  let appended = committed;
  let failure: WeirError | undefined;

  async function guarded(work: () => Promise<void>): Promise<void> {
    if (failure) throw failure;
    try {
      await work();
    } catch (error) {
      failure = unwritable(config, error);
      throw failure;
    }
  }

  function append({ partition, position, input }: Progress, events: Buffer, deadLetters: Buffer): Promise<void> {
    return guarded(async () => {
      await writeAll(eventFile, events, appended.events);
      await writeAll(deadLetterFile, deadLetters, appended.deadLetters);
      appended = {
        positions: { ...appended.positions, [partition]: position },
        inputs: input === undefined ? appended.inputs : { ...appended.inputs, [partition]: input },
        events: appended.events + events.length,
        deadLetters: appended.deadLetters + deadLetters.length,
      };
    });
  }

  /** Appending goes on meanwhile: what is behind these lengths is simply not committed yet. */
  function save(): Promise<void> {
    return guarded(async () => {
      const next = appended;
      if (next === committed) return;
      await Promise.all([eventFile.datasync(), deadLetterFile.datasync()]);
      await writeCheckpoint(checkpointPath, next);
      committed = next;
    });
  }

  return {
    position: (partition) => appended.positions[partition],
    input: (partition) => appended.inputs[partition],
    append: (...args) => appending(() => append(...args)),
    save: () => saving(save),
    async close() {
      await appending(async () => {});
      try {
        if (failure === undefined) await saving(save);
      } finally {
        await closeAll();
      }
    },
  };
}

/** What is in a file without a checkpoint is not ours to cut off: the first checkpoint stands before the first byte. */
async function begin({ path, dead_letters }: FileSinkConfig, checkpointPath: string): Promise<Checkpoint> {
  for (const file of [path, dead_letters]) {
    const found = statSync(file, { throwIfNoEntry: false });
    if (found?.isFile() && found.size > 0) {
      throw new WeirError(
        'OUTPUT',
        `the output file ${file} has ${found.size} bytes, but there is no checkpoint ${checkpointPath}: move it away, or choose another name in sink.file`,
      );
    }
  }
  const nothing = { positions: {}, inputs: {}, events: 0, deadLetters: 0 };
  await writeCheckpoint(checkpointPath, nothing);
  return nothing;
}

/** Runs one piece of work after the other, whatever became of those before. */
function createQueue(): (work: () => Promise<void>) => Promise<void> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
  }
}

/** Opens a file and cuts off what was never committed. */
async function openAt(path: string, length: number): Promise<FileHandle> {
  let file: FileHandle | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true });
    file = await open(path, length === 0 ? 'w' : 'r+');
    const { size } = await file.stat();
    if (size < length) {
      throw new Error(
        `it has ${size} bytes, its checkpoint says ${length}; restore it, or move it and the checkpoint away to begin anew`,
      );
    }
    await file.truncate(length);
    await syncFolder(path);
    return file;
  } catch (error) {
    await file?.close();
    throw new WeirError('OUTPUT', `the output file ${path} cannot be opened: ${describeError(error)}`, {
      cause: error,
    });
  }
}

function unwritable({ path, dead_letters }: FileSinkConfig, error: unknown): WeirError {
  const what = (error as NodeJS.ErrnoException).code === 'ENOSPC' ? 'the disk is full' : describeError(error);
  return new WeirError(
    'OUTPUT',
    `writing ${path} or ${dead_letters} failed: ${what}; what is committed is kept, and the next run goes on from there once this is mended`,
    { cause: error },
  );
}
