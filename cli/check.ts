import { Command } from 'commander';
import { openScorer } from '../consumers/components.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';

const examples = `
Examples:
  $ weir check --config examples/demo/weir.yaml
  $ weir check --config job.yaml --set model.onnx=candidate.onnx --set model.manifest=candidate.json

Reads the config, compiles features and rules, and loads the model with its golden rows. Nothing else is touched: no
broker, no store, no output. Exit code 0 when all is well, 2 for the config (each fault with its line), 6 for the model.`;

/** `weir check`: says everything that is wrong with a job before it runs. */
export function checkCommand(): Command {
  return withJobOptions(new Command('check').description('say everything that is wrong with a config'))
    .addHelpText('after', examples)
    .action(check);
}

async function check(flags: JobFlags): Promise<void> {
  const job = loadJobFrom(flags);
  const scorer = await openScorer(job, surroundingsOf(job));
  await scorer.close();
  const { set, policy, config } = job;
  const entities = set.entities.map(({ type }) => type).join(', ');
  process.stdout.write(
    `${flags.config}: no faults. Job ${config.job}: ${set.names.length} features` +
      `${entities === '' ? '' : ` over ${entities}`}, ${policy.rules.length} rules, ` +
      `feature set ${set.hash.slice(0, 12)}, recipe ${set.recipe}, policy ${policy.version}\n`,
  );
}
