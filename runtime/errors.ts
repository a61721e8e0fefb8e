/**
 * Every error that reaches a person: a stable code, a sentence that says what went wrong, where, and what to do.
 * `exit` is the process exit code the command line answers with (see docs/operations.md).
 */
export class WeirError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'WeirError';
    this.code = code;
  }
}

/** What kind of failure; the command line maps each to one exit code in cli/exit-codes.ts. */
export type ErrorCode =
  | 'CONFIG' // the config or the command line is wrong: a person must change something
  | 'INPUT' // the source is missing or unreadable
  | 'BROKER' // Kafka, Kinesis or DynamoDB cannot be reached or refused
  | 'STORE' // Redis or LMDB cannot be reached, refused, or is set up unsafely
  | 'MODEL' // the model or its manifest is missing, corrupt, or disagrees with the other or with the features
  | 'OUTPUT' // the sink cannot be written (disk full, permissions)
  | 'FENCED' // another process has taken the partition over; not a fault
  | 'INTERNAL'; // a broken invariant: a bug

/** The message of anything thrown, with its causes, on one line. A cause that the message before has said already is left out. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let current: unknown = error; current !== undefined && parts.length < 4; ) {
    const message = current instanceof Error ? current.message : String(current);
    if (!parts.at(-1)?.includes(message)) parts.push(message);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ').replaceAll('\n', ' ');
}
