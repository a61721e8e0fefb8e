import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** A command in a terminal of its own, as a person has it. */
export interface Terminal {
  /** Everything shown so far. */
  shown(): string;
  /** Waits until the text is shown. */
  shows(text: string | RegExp): Promise<void>;
  type(text: string): void;
  pressCtrlC(): void;
  /** The command's exit code. */
  ended(): Promise<number>;
  kill(): void;
}

/** @param command a line for the shell. */
export function openTerminal(command: string, env: Readonly<Record<string, string>>): Terminal {
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...process.env, NODE_ENV: 'production', TERM: 'xterm', ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  const end = once(child, 'close').then(([code]) => code as number);
  return {
    shown: () => shown,
    async shows(text) {
      while (shown.match(text) === null) {
        if (child.exitCode !== null) throw new Error(`the command has ended: ${shown}`);
        await delay(10);
      }
    },
    type: (text) => void child.stdin!.write(text),
    pressCtrlC: () => void child.stdin!.write('\u0003'),
    ended: () => end,
    kill: () => void child.kill('SIGKILL'),
  };
}
