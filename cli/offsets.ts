import { Command } from 'commander';
import { offsetsResetCommand } from './offsets-reset.ts';
import { offsetsShowCommand } from './offsets-show.ts';

const examples = `
Examples:
  $ weir offsets show --config job.yaml
  $ weir offsets reset --config job.yaml --to-time 2026-01-09T12:00:00Z --dry-run

The options of each: weir offsets show --help, weir offsets reset --help`;

/** `weir offsets`: where the consumer group or the stream's application stands, and moving it. */
export function offsetsCommand(): Command {
  return new Command('offsets')
    .description('show or move positions (Kafka, Kinesis), with the state that belongs to them')
    .addHelpText('after', examples)
    .addCommand(offsetsShowCommand())
    .addCommand(offsetsResetCommand());
}
