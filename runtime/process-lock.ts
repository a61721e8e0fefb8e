import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describeError, type ErrorCode, WeirError } from './errors.ts';

export interface ProcessLockOptions {
  readonly code: ErrorCode;
  /** What the lock is for, e.g. "the output out/risk.jsonl". */
  readonly what: string;
  /** What to do when somebody else has it. */
  readonly advice: string;
}

export interface ProcessLock {
  release(): void;
}

const attempts = 5;
/** Locks of this very process: in a container a former one may have had the same process id. */
const own = new Set<string>();

/**
 * One process at a time has what the lock file stands for; a lock whose process is gone is taken over. For processes of one machine
 * (or container) that see each other.
 * @throws WeirError with the given code when another process has it or the file cannot be written.
 */
export function acquireProcessLock(path: string, { code, what, advice }: ProcessLockOptions): ProcessLock {
  const held = (holder: string) => {
    const pid = holder.split(' ')[0];
    return new WeirError(code, `${what} is in use by process ${pid} (lock ${path}); ${advice}`);
  };
  if (own.has(path)) throw held(String(process.pid));
  try {
    mkdirSync(dirname(path), { recursive: true });
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (create(path)) {
        own.add(path);
        return {
          release() {
            if (own.delete(path)) rmSync(path, { force: true });
          },
        };
      }
      const holder = read(path);
      if (holder === undefined) continue;
      if (isAlive(holder)) throw held(holder);
      takeAway(path, holder);
    }
  } catch (error) {
    if (error instanceof WeirError) throw error;
    throw new WeirError(code, `the lock ${path} cannot be written: ${describeError(error)}`, { cause: error });
  }
  throw new WeirError(code, `${what} is just being opened by another process (lock ${path}); ${advice}`);
}

/** The file appears with its content or not at all: a half-written one would look like that of a process that is gone. */
function create(path: string): boolean {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, identityOf(process.pid));
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Removes the lock of a process that is gone; one that another process has made meanwhile is put back. */
function takeAway(path: string, holder: string): void {
  const aside = `${path}.${process.pid}.old`;
  if (read(path) !== holder) return;
  try {
    renameSync(path, aside);
    if (readFileSync(aside, 'utf8') !== holder) linkSync(aside, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** "pid start": where the system tells when a process started, its number alone does not say that it is the same. */
function identityOf(pid: number): string {
  return `${pid} ${startOf(pid)}`.trim();
}

/** Linux: clock ticks from the start of the machine to that of the process. Elsewhere ''. */
function startOf(pid: number): string {
  try {
    // The name, in brackets, may hold blanks.
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[19];
  } catch {
    return '';
  }
}

function isAlive(holder: string): boolean {
  const [pid, start] = holder.split(' ');
  const number = Number(pid);
  if (!Number.isInteger(number) || number <= 0) return false;
  if (start === undefined) return number !== process.pid && isRunning(number);
  return isRunning(number) && startOf(number) === start;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
