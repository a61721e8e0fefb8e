import { type ErrorCode, WeirError } from '../runtime/errors.ts';

/** What the command ends with; documented in docs/operations.md. 0: done, or stopped by SIGTERM or Ctrl-C after draining. */
export const exitCodes: Readonly<Record<ErrorCode, number>> = {
  INTERNAL: 1,
  CONFIG: 2,
  INPUT: 3,
  BROKER: 4,
  STORE: 5,
  MODEL: 6,
  OUTPUT: 7,
  FENCED: 8,
};

export function exitCodeOf(error: unknown): number {
  return exitCodes[error instanceof WeirError ? error.code : 'INTERNAL'];
}
