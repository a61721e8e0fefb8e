import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CompiledJob } from '../consumers/compile.ts';
import { WeirError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/log.ts';
import { exitCodes } from './exit-codes.ts';
import { stopSignal } from './stop-signal.ts';

const indexVariable = 'WEIR_PROCESS_INDEX';
const firstWaitMs = 200;
const longestWaitMs = 10_000;
/** A process that lived this long had started well: its restarts begin with the short wait again. */
const livedWellMs = 60_000;

/** Which of `--processes N` this one is, from 0. */
export function processIndex(): number {
  return Number(process.env[indexVariable] ?? 0);
}

/**
 * Starts N processes of the same command, each a member of the consumer group, and starts those again that die. Ends when all have
 * ended by themselves, when told to (they drain), or when one says that the config or the model is wrong.
 */
export async function superviseProcesses({ config }: CompiledJob, count: number, log: Logger): Promise<void> {
  if (!config.source.kafka || !config.state.redis || !config.sink.kafka) {
    throw new WeirError(
      'CONFIG',
      '--processes needs source.kafka, state.redis and sink.kafka: files and LMDB have one process',
    );
  }
  const stop = stopSignal();
  const giveUp = new AbortController();
  const signal = AbortSignal.any([stop.signal, giveUp.signal]);
  const args = withoutProcesses(process.argv.slice(2));
  const codes = await Promise.all(Array.from({ length: count }, (_, index) => keepRunning(index)));
  stop.release();
  process.exitCode = Math.max(...codes);

  async function keepRunning(index: number): Promise<number> {
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
      const startedAt = performance.now();
      const code = await runOnce(index);
      if (code === 0) return 0;
      if (code === exitCodes.CONFIG || code === exitCodes.MODEL) {
        giveUp.abort();
        return code;
      }
      if (signal.aborted) return code;
      if (performance.now() - startedAt > livedWellMs) waitMs = firstWaitMs;
      log.error({ process: index, exit_code: code, restart_in_ms: waitMs }, 'a process ended; it is started again');
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return code;
    }
  }

  async function runOnce(index: number): Promise<number> {
    const child = fork(process.argv[1], args, {
      env: { ...process.env, [indexVariable]: String(index) },
      // Its own process group: Ctrl-C reaches this process alone, which passes it on.
      detached: true,
    });
    const terminate = () => child.kill('SIGTERM');
    signal.addEventListener('abort', terminate, { once: true });
    if (signal.aborted) terminate();
    const [code] = (await once(child, 'exit')) as [number | null];
    signal.removeEventListener('abort', terminate);
    return code ?? exitCodes.INTERNAL;
  }
}

function withoutProcesses(args: readonly string[]): string[] {
  return args.filter((arg, index) => !/^--processes(=|$)/.test(arg) && args[index - 1] !== '--processes');
}
