import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { acquireProcessLock, type ProcessLock } from '../../runtime/process-lock.ts';

/** What stands in weir.json, beside LMDB's own two files. */
interface FolderFacts {
  readonly format: 1;
  /** The data file had at least this size when the store was closed. */
  readonly bytes: number;
  /** When each state ("job:recipe") was last opened or closed, milliseconds since the epoch. */
  readonly states: Readonly<Record<string, number>>;
}

export interface StateFolder {
  /** Every state in it with the time of its last use. */
  readonly states: Record<string, number>;
  /** Writes the states' times and the present size down. */
  save(): void;
  release(): void;
}

const factsName = 'weir.json';
const lockName = 'lock';
const dataName = 'data.mdb';
/** What an empty state takes, and some more. */
const leastRoomBytes = 64 * 1024;

/**
 * Makes the folder this process's alone, and makes sure that it is a state folder, whole as far as one can tell: LMDB maps the
 * file into memory, and ends the process on one that is damaged.
 * @throws WeirError STORE when another process has it, it is somebody else's, or it is damaged.
 */
export function openStateFolder(path: string): StateFolder {
  const foreign = existsSync(path) ? foreignFiles(path) : [];
  if (foreign.length > 0) {
    throw new WeirError(
      'STORE',
      `the folder ${path} holds files that are not weir's (${foreign.slice(0, 3).join(', ')}); state.embedded.path needs a folder of its own`,
    );
  }
  const lock: ProcessLock = acquireProcessLock(join(path, lockName), {
    code: 'STORE',
    what: `the state folder ${path}`,
    advice: 'stop it, or give this job another state.embedded.path; several processes need Redis',
  });
  try {
    const facts = readFacts(path);
    checkData(path, facts?.bytes ?? 0);
    checkRoom(path);
    const states = { ...facts?.states };
    return {
      states,
      save: () => writeFacts(path, states),
      release: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * For those that only read, also while another process has the folder.
 * @throws WeirError STORE when it is no state folder, or damaged.
 */
export function checkStateFolder(path: string): void {
  const facts = readFacts(path);
  if (facts === undefined) {
    throw new WeirError('STORE', `there is no state at ${path} (state.embedded.path): no job has run with it yet`);
  }
  checkData(path, facts.bytes);
}

/** Files of a folder that is no state folder yet. */
function foreignFiles(path: string): string[] {
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    throw new WeirError('STORE', `the state folder ${path} cannot be read: ${describeError(error)}`, { cause: error });
  }
  if (names.includes(factsName)) return [];
  return names.filter((name) => name !== lockName && !name.startsWith(`${lockName}.`));
}

function readFacts(path: string): FolderFacts | undefined {
  const file = join(path, factsName);
  if (!existsSync(file)) return undefined;
  let facts: Partial<FolderFacts>;
  try {
    facts = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw damaged(path, `${factsName} cannot be read: ${describeError(error)}`);
  }
  if (facts.format !== 1) {
    throw new WeirError(
      'STORE',
      `the state folder ${path} has the format ${facts.format}; this program reads format 1`,
    );
  }
  return facts as FolderFacts;
}

function writeFacts(path: string, states: Record<string, number>): void {
  const data = join(path, dataName);
  const facts: FolderFacts = { format: 1, bytes: existsSync(data) ? statSync(data).size : 0, states };
  const draft = join(path, `${factsName}.new`);
  writeFileSync(draft, `${JSON.stringify(facts)}\n`);
  renameSync(draft, join(path, factsName));
}

/** LMDB opens its files on a full disk, maps them into memory, and the process ends where they have no page: so room is looked for first. */
function checkRoom(path: string): void {
  const trial = join(path, `${lockName}.room`);
  try {
    writeFileSync(trial, Buffer.alloc(leastRoomBytes));
  } catch (error) {
    throw new WeirError(
      'STORE',
      `the state folder ${path} cannot be written: ${describeError(error)}; make room, and run the job again`,
    );
  } finally {
    rmSync(trial, { force: true });
  }
}

/** LMDB's file begins with two pages that say what it is: a magic number at byte 24, its version, and at 48 the page size. */
const magic = 0xbeefc0de;
const headBytes = 52;

function checkData(path: string, leastBytes: number): void {
  const file = join(path, dataName);
  if (!existsSync(file)) return;
  const { size } = statSync(file);
  if (size < leastBytes) throw damaged(path, `${dataName} has ${size} bytes of ${leastBytes}`);
  if (size === 0) return;
  const descriptor = openSync(file, 'r');
  try {
    const head = Buffer.alloc(headBytes);
    let at = 0;
    for (let page = 0; page < 2; page++) {
      const bytes = readSync(descriptor, head, 0, headBytes, at);
      if (bytes < headBytes || head.readUInt32LE(24) !== magic) throw damaged(path, `${dataName} is no LMDB file`);
      at = head.readUInt32LE(48);
    }
  } finally {
    closeSync(descriptor);
  }
}

export function damaged(path: string, why: string): WeirError {
  return new WeirError(
    'STORE',
    `the state folder ${path} is damaged: ${why}; move it away, and the state is rebuilt from the source's log as far as that reaches back`,
  );
}
