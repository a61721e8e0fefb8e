import { type Command, Option } from 'commander';
import type { CompiledJob } from '../consumers/compile.ts';
import type { Surroundings } from '../consumers/components.ts';
import { loadJob } from '../consumers/load-config.ts';
import { systemClock } from '../runtime/clock.ts';
import { createReadiness } from '../runtime/http.ts';
import { captureConsole, createLogger } from '../runtime/log.ts';
import { createMetrics } from '../runtime/metrics.ts';

export interface JobFlags {
  readonly config: string;
  readonly set: readonly string[];
}

/** `--config FILE` and `--set KEY=VALUE`, as every command has them that works on a job. */
export function withJobOptions(command: Command): Command {
  return command
    .requiredOption('-c, --config <file>', 'the job, a YAML file')
    .addOption(
      new Option('--set <key=value>', 'override a key of the config, e.g. source.kafka.topic=payments; may be repeated')
        .argParser((value: string, before: string[]) => [...before, value])
        .default([], 'none'),
    );
}

/** @throws WeirError CONFIG with every fault and its line. */
export function loadJobFrom({ config, set }: JobFlags): CompiledJob {
  return loadJob(config, { overrides: set, env: process.env, folder: process.cwd() });
}

/**
 * The process's own clock, log, metrics and readiness. The console is the log's from now on.
 * @param onReady called whenever everything is ready.
 */
export function surroundingsOf({ config }: CompiledJob, onReady?: () => void): Surroundings {
  const metrics = createMetrics();
  const log = createLogger(config.log.level, { job: config.job, pid: process.pid });
  captureConsole(log);
  return {
    clock: systemClock,
    log,
    metrics,
    readiness: createReadiness(['store', 'source'], (isReady) => {
      metrics.ready(isReady);
      if (isReady) onReady?.();
    }),
  };
}
