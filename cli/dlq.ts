import { Command } from 'commander';
import { dlqListCommand } from './dlq-list.ts';
import { dlqReplayCommand } from './dlq-replay.ts';
import { dlqShowCommand } from './dlq-show.ts';

/** `weir dlq`: records that could not be scored. */
export function dlqCommand(): Command {
  return new Command('dlq')
    .description('list, show and replay dead letters: records that could not be scored')
    .addCommand(dlqListCommand())
    .addCommand(dlqShowCommand())
    .addCommand(dlqReplayCommand());
}
