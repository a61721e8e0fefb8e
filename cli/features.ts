import { Command } from 'commander';
import { closest } from '../runtime/closest.ts';
import { WeirError } from '../runtime/errors.ts';
import { exportCommand } from './features-export.ts';
import { listCommand } from './features-list.ts';

const examples = `
Examples:
  $ weir features list --config examples/demo/weir.yaml
  $ weir features --config examples/demo/weir.yaml --out features.csv

Without a command of its own, it exports. The options of each: weir features list --help, weir features export --help`;

/** `weir features`: what a job's features are, and their values over a recorded stream. */
export function featuresCommand(): Command {
  const command = new Command('features')
    .description('list the features of a config, or export those of a recorded stream')
    .addHelpText('after', examples);
  return command
    .addCommand(exportCommand(), { isDefault: true })
    .addCommand(listCommand())
    .hook('preSubcommand', refuseUnknown);
}

/** Else the default command would take a misspelt one for an argument, and speak of its own options first. */
function refuseUnknown(command: Command): void {
  const [name] = command.args;
  const known = command.commands.map((child) => child.name());
  if (name === undefined || name.startsWith('-') || known.includes(name)) return;
  throw new WeirError(
    'CONFIG',
    `features has no command ${name}${closest(name, known)}; there are ${known.join(' and ')}`,
  );
}
