import { hostname } from 'node:os';

/** The environment variable that tells each of `--processes N` its number. */
export const indexVariable = 'WEIR_PROCESS_INDEX';

/** Which of `--processes N` this one is, from 0. */
export function processIndex(): number {
  return Number(process.env[indexVariable] ?? 0);
}

/** A name that the process has again after a restart, when the host (a StatefulSet's pod, a machine) keeps its own. */
export function processName(base = hostname()): string {
  return `${base}-${processIndex()}`;
}
