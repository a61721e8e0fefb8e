import { createWriteStream } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { WeirError } from '../runtime/errors.ts';

const chunkChars = 1 << 16;

/**
 * Writes lines to a file (compressed when its name ends in .gz) or, for `-`, to standard output. A reader that closes
 * the pipe early (`| head`) ends it without error.
 * @throws WeirError OUTPUT when the file cannot be written (permissions, missing folder, full disk).
 */
export async function writeLines(lines: Iterable<string>, path: string): Promise<void> {
  const source = Readable.from(chunks(lines), { objectMode: true, highWaterMark: 4 });
  const stages: (Readable | Writable | NodeJS.ReadWriteStream)[] = [source];
  if (path.endsWith('.gz')) stages.push(createGzip());
  stages.push(path === '-' ? process.stdout : createWriteStream(path));
  try {
    await pipeline(stages as [Readable, Writable], { end: path !== '-' });
  } catch (cause) {
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (path === '-' && (code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE')) return;
    if (syscall === undefined) throw cause;
    const where = path === '-' ? 'standard output' : path;
    throw new WeirError('OUTPUT', `cannot write the simulated transactions to ${where}: ${advice(code)}`, { cause });
  }
}

function advice(code: string | undefined): string {
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'the disk is full; free space or write elsewhere with --out';
  if (code === 'ENOENT') return 'its folder does not exist; create it first';
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'permission denied; choose another --out';
  if (code === 'EISDIR') return 'it is a folder; name a file in it';
  return `the system says ${code}`;
}

/** Lines joined to pieces of about 64 KB, so that a write and not a line is the unit of work. */
function* chunks(lines: Iterable<string>): Generator<Buffer> {
  let piece = '';
  for (const line of lines) {
    piece += `${line}\n`;
    if (piece.length < chunkChars) continue;
    yield Buffer.from(piece);
    piece = '';
  }
  if (piece !== '') yield Buffer.from(piece);
}
