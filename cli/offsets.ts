import { Command } from 'commander';
import { offsetsResetCommand } from './offsets-reset.ts';
import { offsetsShowCommand } from './offsets-show.ts';

/** `weir offsets`: where the consumer group stands, and moving it. */
export function offsetsCommand(): Command {
  return new Command('offsets')
    .description("show or move the consumer group's positions, with the state that belongs to them")
    .addCommand(offsetsShowCommand())
    .addCommand(offsetsResetCommand());
}
