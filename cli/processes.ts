import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CompiledJob } from '../consumers/compile.ts';
import { createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import { indexVariable } from '../runtime/process-name.ts';
import { stopSignal } from '../runtime/stop-signal.ts';
import { exitCodes } from './exit-codes.ts';

const firstWaitMs = 200;
const longestWaitMs = 30_000;
/** A process that lived this long had started well: its restarts begin with the short wait again. */
const livedWellMs = 60_000;

/** To this the number of the signal is added, as shells do. */
const killedCode = 128;

/** What a worker sends to its supervisor once it can do its work. */
const readyMessage = 'ready';

/** Gives what tells the supervisor, if there is one, that this process could begin; more than once does no harm. */
export function readyTeller(): () => void {
  let isTold = false;
  return () => {
    if (isTold || !process.connected) return;
    isTold = true;
    process.send!(readyMessage);
  };
}

/** Causes that no restart mends: the config. */
const lasting: readonly number[] = [exitCodes.CONFIG];
/** Causes that no restart mends when they show at the start: a topic that is missing, a model of another job. Later they may pass. */
const lastingAtStart: readonly number[] = [exitCodes.INPUT, exitCodes.OUTPUT, exitCodes.MODEL];

/**
 * Starts N processes of the same command, each a member of the consumer group, and starts those again that die. Ends when all have
 * ended by themselves, when told to (they drain), or when one ends for a cause that no restart mends.
 */
export async function superviseProcesses(
  { config }: CompiledJob,
  count: number,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): Promise<void> {
  if (config.source.file || !config.state.redis || config.sink.file) {
    throw new WeirError(
      'CONFIG',
      '--processes needs state.redis, and Kafka or Kinesis for source and sink: files and LMDB have one process',
    );
  }
  const stop = stopSignal(clock);
  const giveUp = new AbortController();
  const signal = AbortSignal.any([stop, giveUp.signal]);
  const args = withoutProcesses(process.argv.slice(2));
  const children = new Set<ChildProcess>();
  // A second signal ends this process at once, and means the others as well. If it dies otherwise, they drain.
  const end = () => {
    if (stop.aborted) for (const child of children) child.kill('SIGKILL');
  };
  process.once('exit', end);
  const codes = await Promise.all(Array.from({ length: count }, (_, index) => keepRunning(index)));
  process.off('exit', end);
  // Those that were told to end because of one may end in any way.
  process.exitCode = giveUp.signal.aborted ? giveUp.signal.reason : Math.max(...codes);

  async function keepRunning(index: number): Promise<number> {
    const backoff = createBackoff(firstWaitMs, longestWaitMs);
    for (;;) {
      const startedAt = clock.monotonic();
      const { code, wasReady } = await runOnce(index);
      if (code === 0 || signal.aborted) return code;
      if (lasting.includes(code) || (lastingAtStart.includes(code) && !wasReady)) {
        log.error({ process: index, exit_code: code }, 'a process ended for a cause that no restart mends; all stop');
        giveUp.abort(code);
        return code;
      }
      if (clock.monotonic() - startedAt > livedWellMs) backoff.reset();
      const waitMs = backoff.next();
      log.error({ process: index, exit_code: code, restart_in_ms: waitMs }, 'a process ended; it is started again');
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return code;
    }
  }

  async function runOnce(index: number): Promise<{ code: number; wasReady: boolean }> {
    const child = fork(process.argv[1], args, {
      env: { ...process.env, [indexVariable]: String(index) },
      // Its own process group: Ctrl-C reaches this process alone, which passes it on.
      detached: true,
    });
    let wasReady = false;
    child.on('message', (message) => {
      wasReady ||= message === readyMessage;
    });
    const terminate = () => child.kill('SIGTERM');
    signal.addEventListener('abort', terminate, { once: true });
    children.add(child);
    if (signal.aborted) terminate();
    const [code, killedBy] = (await once(child, 'exit')) as [number, null] | [null, NodeJS.Signals];
    signal.removeEventListener('abort', terminate);
    children.delete(child);
    // Told to end before it knew how to: it had begun nothing.
    if (signal.aborted && killedBy === 'SIGTERM') return { code: 0, wasReady };
    return { code: code ?? killedCode + constants.signals[killedBy], wasReady };
  }
}

function withoutProcesses(args: readonly string[]): string[] {
  return args.filter((arg, index) => !/^--processes(=|$)/.test(arg) && args[index - 1] !== '--processes');
}
