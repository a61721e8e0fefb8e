import { Command } from 'commander';
import { fleetStatusCommand } from './fleet-status.ts';

const examples = `
Examples:
  $ weir fleet status --config job.yaml

The options: weir fleet status --help`;

/** `weir fleet`: the processes that share a job's input. */
export function fleetCommand(): Command {
  return new Command('fleet')
    .description("look at the processes that share the job's partitions or shards")
    .addHelpText('after', examples)
    .addCommand(fleetStatusCommand());
}
