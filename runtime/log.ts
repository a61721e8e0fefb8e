import { format } from 'node:util';
import { pino } from 'pino';

/** Structured log: details first, then a sentence. */
export interface Logger {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
  /** A logger that adds the details to every line. */
  child(details: object): Logger;
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** JSON lines on standard error: `level`, `time` (ISO 8601), the details, `message`. */
export function createLogger(level: LogLevel, details: Readonly<Record<string, unknown>>): Logger {
  return pino(
    {
      level,
      base: details,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous: the last lines before a crash are the ones that are needed.
    pino.destination({ fd: 2, sync: true }),
  );
}

/**
 * From now on what libraries say on the console is said in the log, as its lines are: LMDB prints the stack of each failed commit, the Redis
 * client its advice. Neither can be told not to.
 */
export function captureConsole(log: Logger): void {
  const said = (words: readonly unknown[]) =>
    words.map((word) => (word instanceof Error ? word.message : format(word))).join(' ');
  console.warn = (...words: unknown[]) => log.warn({ from: 'library' }, said(words).replace(/^\[WARN\] /, ''));
  console.error = (...words: unknown[]) => log.warn({ from: 'library' }, said(words));
}
