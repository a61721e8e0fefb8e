import { Command } from 'commander';
import { dlqListCommand } from './dlq-list.ts';
import { dlqReplayCommand } from './dlq-replay.ts';
import { dlqShowCommand } from './dlq-show.ts';

const examples = `
Examples:
  $ weir dlq list --config job.yaml
  $ weir dlq show 2 41200 --config job.yaml
  $ weir dlq replay --config mended.yaml --all --dry-run

The options of each: weir dlq list --help, weir dlq show --help, weir dlq replay --help`;

/** `weir dlq`: records that could not be scored. */
export function dlqCommand(): Command {
  return new Command('dlq')
    .description('list, show and replay dead letters: records that could not be scored')
    .addHelpText('after', examples)
    .addCommand(dlqListCommand())
    .addCommand(dlqShowCommand())
    .addCommand(dlqReplayCommand());
}
