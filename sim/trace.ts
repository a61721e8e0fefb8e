import type { Logger } from '../runtime/log.ts';

/** What happens in a run, line by line. */
export type Trace = (line: string) => void;

/** A process's log as lines of the trace. */
export function tracedLog(trace: Trace, name: string): Logger {
  const line = (details: object, message: string) => trace(`${name} ${message} ${JSON.stringify(details)}`);
  const log: Logger = { debug: () => {}, info: line, warn: line, error: line, child: () => log };
  return log;
}
