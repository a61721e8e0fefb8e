import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, succeeds } from './machine.ts';
import type { Runner } from './service.ts';
import { shellWord, spawnTied, type TiedProcess } from './tied-process.ts';

/** Where a service keeps its data and what it says. */
export interface Files {
  folder: string;
  log: string;
  /** The folder again when it is to be removed with the service. */
  ownFolder?: string;
}

/** The given folder, or a new one for this service alone. */
export function makeFolder(name: string, dir?: string): Files {
  if (dir) mkdirSync(dir, { recursive: true });
  const folder = dir ?? mkdtempSync(join(tmpdir(), `weir-${name}-`));
  return { folder, log: join(folder, `${name}.log`), ownFolder: dir ? undefined : folder };
}

/** A program on this machine. `ownFolder` is removed with the service. */
export function programRunner(
  command: string,
  args: readonly string[],
  files: { log: string; ownFolder?: string },
): Runner {
  const cleanup = files.ownFolder ? `rm -rf ${shellWord(files.ownFolder)}` : '';
  return {
    launch: () => spawnTied(command, args, { log: files.log, cleanup }),
    kill: async (running) => {
      if (running.alive()) running.signal('SIGKILL');
      await running.ended;
    },
    discard: async () => removeFolder(files.ownFolder),
  };
}

export interface Container {
  image: string;
  /** Published on the loopback interface: host port -> container port. */
  ports: ReadonlyMap<number, number>;
  env: Readonly<Record<string, string>>;
  args: readonly string[];
}

/** A container whose data live in it; the process is the attached `docker` client. */
export function dockerRunner(
  container: Container,
  files: { log: string; ownFolder?: string },
): Runner & { name: string } {
  const name = `weir-${randomUUID()}`;
  const remove = ['rm', '--force', '--volumes', name];
  const folder = files.ownFolder ? `; rm -rf ${shellWord(files.ownFolder)}` : '';
  const attach = (args: readonly string[]): TiedProcess =>
    spawnTied('docker', args, { log: files.log, cleanup: `docker ${remove.join(' ')}${folder}` });
  let created = false;
  return {
    name,
    launch: () => {
      if (created) return attach(['start', '--attach', name]);
      created = true;
      const ports = [...container.ports].flatMap(([host, inside]) => ['--publish', `127.0.0.1:${host}:${inside}`]);
      const env = Object.entries(container.env).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
      return attach(['run', '--name', name, ...ports, ...env, container.image, ...container.args]);
    },
    kill: async (running) => {
      await succeeds('docker', ['kill', name]);
      await running.ended;
    },
    discard: async () => {
      await run('docker', remove);
      removeFolder(files.ownFolder);
    },
  };
}

/** Pulls the image unless it is there, so that the wait for the service to answer is not spent on a download. */
export async function fetchImage(image: string): Promise<void> {
  if (!(await succeeds('docker', ['image', 'inspect', image]))) await run('docker', ['pull', image]);
}

function removeFolder(folder: string | undefined): void {
  if (folder) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
