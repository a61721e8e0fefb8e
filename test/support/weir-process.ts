import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface WeirProcess {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves with the exit code, or the signal's name, once the process has ended. */
  ended(): Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts the `weir` command from the sources in a process of its own.
 * @param via a program with arguments that becomes the command that follows, such as a shell that sets limits.
 */
export function startWeir(
  args: readonly string[],
  env: Record<string, string> = {},
  via: readonly string[] = [],
): WeirProcess {
  const [program, ...before] = [...via, process.execPath, 'cli/weir.ts'];
  const child = spawn(program, [...before, ...args], {
    cwd: root,
    env: { ...process.env, NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const end = once(child, 'close').then(([code, signal]) => (signal ?? code) as number | string);
  return { child, stdout: () => stdout, stderr: () => stderr, ended: () => end, kill: (signal) => child.kill(signal) };
}

/** Runs the command to its end. */
export async function runWeir(args: readonly string[], env: Record<string, string> = {}) {
  const weir = startWeir(args, env);
  const code = await weir.ended();
  return { code, stdout: weir.stdout(), stderr: weir.stderr() };
}
