import { execFile } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type ErrorCode, WeirError } from '../../runtime/errors.ts';

const execute = promisify(execFile);
const OUTPUT_BYTES = 256 * 1024 * 1024;
const LOCK_POLL_MS = 100;

/** Runs a program to its end; rejects with its error output when it fails. */
export async function run(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await execute(command, [...args], { maxBuffer: OUTPUT_BYTES, env: { ...process.env, ...env } });
  return stdout;
}

/** True when the program is there and ends well. */
export async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}

/** The major version of the Java on the path, 0 without one. */
export async function javaVersion(): Promise<number> {
  const printed = await execute('java', ['-version']).then(
    ({ stdout, stderr }) => stdout + stderr,
    () => '',
  );
  return Number(/version "(\d+)/.exec(printed)?.[1] ?? 0);
}

export interface Needs {
  name: string;
  code: ErrorCode;
  /** True when the programs are on this machine. */
  present(): Promise<boolean>;
  debianPackages: readonly string[];
  /** For a person without Debian: what has to be installed. */
  install: string;
}

/**
 * How to run a service here: by the programs that are there, by a Docker engine, or by Debian packages that are
 * installed now when this user may.
 */
export async function chooseWay(needs: Needs): Promise<'program' | 'docker'> {
  if (await needs.present()) return 'program';
  if (await succeeds('docker', ['info'])) return 'docker';
  const cause = await installDebian(needs.debianPackages).catch((error: unknown) => error);
  if (await needs.present()) return 'program';
  throw new WeirError(
    needs.code,
    `${needs.name} cannot be started here: ${needs.install}, or start a Docker engine (as root on Debian: ` +
      `apt-get install ${needs.debianPackages.join(' ')})`,
    { cause },
  );
}

async function installDebian(packages: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0 || !(await succeeds('apt-get', ['--version']))) return;
  await oneAtATime('apt-get', async () => {
    await run('apt-get', ['update']);
    await run('apt-get', ['install', '-y', '--no-install-recommends', ...packages], {
      DEBIAN_FRONTEND: 'noninteractive',
    });
  });
}

/**
 * Free TCP ports of the loopback interface, all different, which no other process gets from here while this one lives: services are
 * started on them later, and again. Taken from below the range that the system gives to outgoing connections (32768 and up on Linux,
 * 49152 and up elsewhere): a client that tries to reach a service that is down could otherwise be given the service's own port and keep
 * the service from coming back.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; ports.size < count && attempt < 1000; attempt++) {
    const port = randomInt(15_000, 32_000);
    if ((await isFree(port)) && (await claim(port))) ports.add(port);
  }
  return [...ports];
}

/** Whether nobody listens on the port of the loopback interface. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** On this address, which is the machine's own as well, whoever has a port for its services listens on it: the system tells others so. */
const CLAIMS = '127.76.87.1';

function claim(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // Where there is no such address (macOS) nothing can be claimed.
    server.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'EADDRNOTAVAIL'));
    server.listen({ port, host: CLAIMS, exclusive: true }, () => resolve(true)).unref();
  });
}

/** This user's folder for what is downloaded once. */
export function cacheFolder(): string {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'weir');
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Runs `work` while no other process of this user runs work of that name. A lock whose owner has died is taken over. */
export async function oneAtATime<T>(name: string, work: () => Promise<T>): Promise<T> {
  const lock = join(cacheFolder(), `${name}.lock`);
  const ticket = join(cacheFolder(), `${name}.${randomUUID()}`);
  // Linked into place with its content, so that nobody reads a lock without its owner.
  writeFileSync(ticket, String(process.pid));
  try {
    while (!tryLink(ticket, lock)) {
      if (!ownerLives(lock)) rmSync(lock, { force: true });
      else await delay(LOCK_POLL_MS);
    }
    try {
      return await work();
    } finally {
      rmSync(lock, { force: true });
    }
  } finally {
    rmSync(ticket, { force: true });
  }
}

function tryLink(ticket: string, lock: string): boolean {
  try {
    linkSync(ticket, lock);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function ownerLives(lock: string): boolean {
  if (!existsSync(lock)) return true;
  try {
    process.kill(Number(readFileSync(lock, 'utf8')), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
