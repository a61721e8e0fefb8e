import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { structuredEvent } from '../../scoring/cloud-event.ts';
import { type DeadLetter, type Output, type OutputBatch, partitionName, type Sink } from '../ports.ts';
import { type Checkpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import type { FileSinkConfig } from './config.ts';

export interface FileSinkOptions {
  readonly job: string;
}

/** A new checkpoint once so many bytes were appended; what a crash leaves behind the last one is cut off and made again. */
const checkpointBytes = 4 << 20;

/**
 * Risk events and dead letters as lines of two files, exactly once: a checkpoint beside them holds the input positions and the
 * lengths of both files, and opening cuts them back to it.
 * @throws WeirError OUTPUT when a file cannot be written or another process writes it.
 */
export async function createFileSink(config: FileSinkConfig, options: FileSinkOptions): Promise<Sink> {
  const checkpointPath = `${config.path}.checkpoint`;
  const lock = acquireLock(`${config.path}.lock`);
  const writers: FileHandle[] = [];
  let positions: Record<string, number> = {};
  let lengths = { events: 0, deadLetters: 0 };
  let unsaved = 0;
  let failure: unknown;
  let queue: Promise<unknown> = Promise.resolve();

  try {
    const checkpoint = await readCheckpoint(checkpointPath);
    if (checkpoint) {
      positions = { ...checkpoint.positions };
      lengths = { events: checkpoint.events, deadLetters: checkpoint.deadLetters };
    }
    writers.push(await openAt(config.path, lengths.events), await openAt(config.dead_letters, lengths.deadLetters));
  } catch (error) {
    await Promise.all(writers.map((writer) => writer.close()));
    lock.release();
    throw error;
  }

  async function save(): Promise<void> {
    if (unsaved === 0) return;
    const checkpoint: Checkpoint = { positions: { ...positions }, ...lengths };
    unsaved = 0;
    await Promise.all(writers.map((writer) => writer.datasync()));
    await writeCheckpoint(checkpointPath, checkpoint);
  }

  async function append(name: string, { events, deadLetters }: OutputBatch, position: number): Promise<void> {
    if (failure !== undefined) throw failure;
    try {
      const lines =
        events.length > 0 ? Buffer.concat(events.flatMap((event) => structuredEvent(options.job, event))) : undefined;
      const letters = deadLetters.length > 0 ? Buffer.from(deadLetters.map(deadLetterLine).join('')) : undefined;
      if (lines) await writeAll(writers[0], lines, lengths.events);
      if (letters) await writeAll(writers[1], letters, lengths.deadLetters);
      lengths.events += lines?.length ?? 0;
      lengths.deadLetters += letters?.length ?? 0;
      unsaved += 1 + (lines?.length ?? 0) + (letters?.length ?? 0);
      positions[name] = position;
      if (unsaved > checkpointBytes) await save();
    } catch (error) {
      failure = unwritable(config, error);
      throw failure;
    }
  }

  return {
    async open(ownership): Promise<Output> {
      const name = partitionName(ownership);
      return {
        position: async () => positions[name],
        publish(batch, position) {
          // Partitions share the files: one appends after the other.
          const done = queue.then(() => append(name, batch, position));
          queue = done.catch(() => undefined);
          return done;
        },
        async close() {},
      };
    },
    async close() {
      await queue;
      try {
        if (failure === undefined) await save();
      } catch (error) {
        throw unwritable(config, error);
      } finally {
        await Promise.all(writers.map((writer) => writer.close()));
        lock.release();
      }
    },
  };
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
  }
}

/** Opens a file and cuts off what was never committed. */
async function openAt(path: string, length: number): Promise<FileHandle> {
  try {
    mkdirSync(dirname(path), { recursive: true });
    const file = await open(path, length === 0 ? 'w' : 'r+');
    const { size } = await file.stat();
    if (size < length) {
      await file.close();
      throw new Error(
        `it has ${size} bytes, its checkpoint says ${length}; restore it, or move it and the checkpoint away to begin anew`,
      );
    }
    await file.truncate(length);
    return file;
  } catch (error) {
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

function deadLetterLine({ key, value, reason, message, stream, partition, offset }: DeadLetter): string {
  return `${JSON.stringify({ reason, message, stream, partition, offset, key: asText(key), ...asValue(value) })}\n`;
}

function asText(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString('utf8');
}

/** Original bytes: as text where they are UTF-8, else in base64. */
function asValue(bytes: Buffer | null): { value: string | null; encoding?: 'base64' } {
  if (bytes === null) return { value: null };
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes)
    ? { value: text }
    : { value: bytes.toString('base64'), encoding: 'base64' };
}

/** One process at a time writes an output; a lock whose process is gone is taken over. */
function acquireLock(path: string): { release(): void } {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      return { release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new WeirError('OUTPUT', `the output's lock ${path} cannot be written: ${describeError(error)}`, {
          cause: error,
        });
      }
      const holder = Number(readFileSync(path, 'utf8'));
      if (isAlive(holder)) {
        throw new WeirError(
          'OUTPUT',
          `process ${holder} writes this output already (lock ${path}); stop it, or choose another sink.file.path`,
        );
      }
      rmSync(path, { force: true });
    }
  }
  throw new WeirError(
    'OUTPUT',
    `the output's lock ${path} changes hands; another process is starting on the same output`,
  );
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
