import { Command } from 'commander';
import type { CompiledJob } from '../consumers/compile.ts';
import { describeFeature } from '../features/describe.ts';
import { commonEventBytes, entityBytes, eventBytes } from '../features/footprint.ts';
import { type EntityPlan, type FeatureSet, idField } from '../features/plan.ts';
import { type JobFlags, loadJobFrom, withJobOptions } from './job-options.ts';
import { table } from './table.ts';

interface Flags extends JobFlags {
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir features list --config examples/demo/weir.yaml
  $ weir features list --config examples/demo/weir.yaml --json | head -n 1

The first table says what each feature is and what it costs to evaluate. The second says what is retained of each event
of an entity: that is shared by all of the entity's features. docs/features.md describes every aggregate.`;

/** `weir features list`: what the features of a config mean and cost. */
export function listCommand(): Command {
  return withJobOptions(new Command('list').description('say what the features of a config mean, and what they cost'))
    .option('--json', 'print one JSON line per feature')
    .addHelpText('after', examples)
    .action(list);
}

async function list(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  process.stdout.write(flags.json ? jsonLines(job.set) : text(job));
}

function jsonLines(set: FeatureSet): string {
  const lines = set.names.map((name, column) => {
    const source = set.sources[column];
    const { meaning, window, delay, cost } = describeFeature(source);
    const plan = source.from === 'entity' ? planOf(set, source.group.entity!) : undefined;
    return JSON.stringify({
      name,
      meaning,
      entity: plan?.type ?? null,
      window: window ?? null,
      delay: delay ?? null,
      cost,
      event_bytes: plan === undefined ? 0 : rounded(commonEventBytes(plan)),
      event_bytes_most: plan === undefined ? 0 : rounded(eventBytes(plan)),
      definition: set.definitions[column],
    });
  });
  return `${lines.join('\n')}\n`;
}

function text({ config, set }: CompiledJob): string {
  const features = set.names.map((name, column) => {
    const { meaning, window = '', delay, cost } = describeFeature(set.sources[column]);
    return [name, meaning, delay === undefined ? window : `${window}, ${delay} ago`, cost];
  });
  const entities = set.entities.map((plan) => [
    plan.type,
    plan.features.length,
    retainedFacts(set, plan),
    `${duration(plan.retentionMs)}${Number.isFinite(plan.idleMs) ? `; totals until idle for ${duration(plan.idleMs)}` : ''}`,
    rounded(commonEventBytes(plan)),
    rounded(eventBytes(plan)),
    plan.exactEvents,
    entityBytes(plan),
  ]);
  const heads = [
    'entity',
    'features',
    'retained of an event',
    'for',
    'bytes',
    'at most',
    'exact events',
    'entity at most',
  ];
  return [
    `job ${config.job}: ${set.names.length} features, recipe ${set.recipe}\n`,
    table(['feature', 'meaning', 'window', 'cost'], features),
    'state, shared by the features of an entity (bytes in the store: per event, and per entity and partition)\n',
    table(heads, entities),
  ].join('\n');
}

function planOf(set: FeatureSet, entity: string): EntityPlan {
  return set.entities.find(({ type }) => type === entity)!;
}

/** What is kept of each event beside its time. */
function retainedFacts({ layout }: FeatureSet, { predicates, numbers, hashes }: EntityPlan): string {
  const name = (field: number) => layout.fields[field].name;
  const facts = [
    'time',
    ...numbers.map(({ field, longitude }) =>
      longitude < 0 ? name(field) : `place (${name(field)}, ${name(longitude)})`,
    ),
    ...hashes.map((field) => `hash of ${field === idField ? 'the id' : name(field)}`),
  ];
  if (predicates.length > 0) facts.push(`${predicates.length} bit${predicates.length === 1 ? '' : 's'} for filters`);
  return facts.join(', ');
}

function duration(ms: number): string {
  const [size, unit] = [[86_400_000, 'd'] as const, [3_600_000, 'h'] as const, [60_000, 'm'] as const].find(
    ([each]) => ms >= 2 * each,
  ) ?? [1000, 's'];
  return `${rounded(ms / size)}${unit}`;
}

const rounded = (value: number): number => Math.round(value * 10) / 10;
