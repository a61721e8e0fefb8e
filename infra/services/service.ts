import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorCode, WeirError } from '../../runtime/errors.ts';
import type { TiedProcess } from './tied-process.ts';

/** A service that is up. Its address stays the same over `kill` and `restart`. */
export interface Service {
  /** The present process id; -1 for a service that somebody else started. */
  readonly pid: number;
  /** Ends it and removes its data. Harmless when it has ended. */
  stop(): Promise<void>;
  /** Ends it at once as a crash would (SIGKILL); its data stay. */
  kill(): Promise<void>;
  /** Starts it again on the same port and data, ending it in order first when it is up. */
  restart(): Promise<void>;
}

/** How one service is run: as a program on this machine or in a container. */
export interface Runner {
  launch(): TiedProcess;
  kill(running: TiedProcess): Promise<void>;
  /** Removes what the service leaves behind. */
  discard(): Promise<void>;
}

export interface ServiceFacts {
  name: string;
  code: ErrorCode;
  /** The file that its output goes to. */
  log: string;
  /**
   * True when it answers. Called again and again until then, with the end of its output since this start; may throw
   * while the service is not up.
   */
  ready(output: string): Promise<boolean>;
  deadlineMs: number;
}

const STOP_MS = 15_000;
const POLL_MS = 50;
const TAIL_BYTES = 4_000;

/** Starts the service and waits until it answers; on failure nothing is left running. */
export async function startService(facts: ServiceFacts, runner: Runner): Promise<Service> {
  let running = await launchReady(facts, runner).catch(async (error: unknown) => {
    await runner.discard();
    throw error;
  });
  return {
    get pid() {
      return running.pid;
    },
    stop: async () => {
      await runner.kill(running);
      await runner.discard();
    },
    kill: () => runner.kill(running),
    restart: async () => {
      await endInOrder(running, runner);
      running = await launchReady(facts, runner);
    },
  };
}

/** A service that the environment names: it is not ours to end. */
export function givenService(name: string, variable: string): Service {
  return {
    pid: -1,
    stop: async () => {},
    kill: async () => {},
    restart: async () => {
      const message = `${name} cannot be restarted: ${variable} names one that somebody else runs; unset ${variable} to have one started`;
      throw new WeirError('CONFIG', message);
    },
  };
}

async function launchReady(facts: ServiceFacts, runner: Runner): Promise<TiedProcess> {
  const from = existsSync(facts.log) ? statSync(facts.log).size : 0;
  const running = runner.launch();
  const deadline = performance.now() + facts.deadlineMs;
  let cause: unknown;
  while (running.alive() && performance.now() < deadline) {
    try {
      if (await facts.ready(readTail(facts.log, from))) return running;
    } catch (error) {
      cause = error;
    }
    await delay(POLL_MS);
  }
  const why = running.alive() ? `did not answer within ${facts.deadlineMs / 1000} s` : 'ended while starting';
  await runner.kill(running);
  const tail = readTail(facts.log, from).trim();
  throw new WeirError(facts.code, `${facts.name} ${why}; the end of its output:\n${tail}`, { cause });
}

async function endInOrder(running: TiedProcess, runner: Runner): Promise<void> {
  if (!running.alive()) return;
  running.signal('SIGTERM');
  const timer = new AbortController();
  const late = delay(STOP_MS, 'late', { signal: timer.signal }).catch(() => 'cancelled');
  const outcome = await Promise.race([running.ended, late]);
  timer.abort();
  if (outcome === 'late') await runner.kill(running);
}

/** The last bytes of a file, none of them before `from`. */
function readTail(path: string, from: number): string {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.max(0, Math.min(TAIL_BYTES, size - from)));
    readSync(file, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString('utf8');
  } finally {
    closeSync(file);
  }
}
