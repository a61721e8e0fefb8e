import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

/** A program of ours that ends when this process ends, however it ends: return, exit, signal, kill -9. */
export interface TiedProcess {
  readonly pid: number;
  readonly alive: () => boolean;
  /** Settles when the program has ended. */
  readonly ended: Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

// The shell forks a guard and then becomes the program, so the process id is the program's own. The guard waits on a
// pipe whose only other end is this process: it reads end-of-file when this process is gone, ends the program and runs
// the clean-up. It cannot hit a stranger: while it lives, its group id (the program's process id) is not given away.
const GUARDED = `
exec 3<&0
(read -r _ <&3; kill -9 $$; sleep 1; eval "$1") >/dev/null 2>&1 &
exec 3<&-
shift
exec "$@" </dev/null`;

/**
 * Starts `command` with its output appended to the file `log`. `cleanup` is a shell command that runs only when this
 * process ended without ending the program first.
 */
export function spawnTied(
  command: string,
  args: readonly string[],
  options: { log: string; cleanup: string },
): TiedProcess {
  const log = openSync(options.log, 'a');
  const child = spawn('sh', ['-c', GUARDED, 'weir-service', options.cleanup, command, ...args], {
    // An own process group: a Ctrl-C in the terminal reaches the starter alone, which then ends the program in order.
    detached: true,
    stdio: ['pipe', log, log],
  });
  closeSync(log);
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => {
      endGuard(child);
      resolve();
    });
  });
  return {
    pid: child.pid ?? -1,
    alive: () => child.pid !== undefined && child.exitCode === null && child.signalCode === null,
    ended,
    signal: (signal) => void child.kill(signal),
  };
}

function endGuard(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // The guard has ended already: nothing is left in the group.
  }
  child.stdin?.destroy();
}

/** `text` as one word of a shell command. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
