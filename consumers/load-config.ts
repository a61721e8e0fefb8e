import { type ConfigInputs, describeFault, readConfigDocument } from '../runtime/config/document.ts';
import { validateConfig } from '../runtime/config/validate.ts';
import { WeirError } from '../runtime/errors.ts';
import { type CompiledJob, compileJob, compileSections } from './compile.ts';
import { jobConfig } from './config.ts';

/**
 * Reads, validates and compiles a job's config file.
 * @throws WeirError CONFIG that lists every fault with its line.
 */
export function loadJob(file: string, inputs: ConfigInputs): CompiledJob {
  const document = readConfigDocument(file, inputs);
  const { config, sound, faults } = validateConfig(jobConfig, document);
  const compiled = config === undefined ? { job: undefined, ...compileSections(sound) } : compileJob(config);
  if (compiled.job !== undefined) return compiled.job;
  const located = [...faults, ...compiled.faults].map((fault) => document.locate(fault));
  located.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  throw new WeirError('CONFIG', located.map((fault) => describeFault(file, fault)).join('\n'));
}
