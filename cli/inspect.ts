import { Command } from 'commander';
import type { CompiledJob } from '../consumers/compile.ts';
import { openStoreReader } from '../consumers/components.ts';
import { historyId, historyType, type Known, knownFrom, readHistory } from '../features/history.ts';
import { type EntityView, viewEntity } from '../features/inspect.ts';
import { type EntityPlan, latenessOf } from '../features/plan.ts';
import { closest } from '../runtime/closest.ts';
import { WeirError } from '../runtime/errors.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { table } from './table.ts';
import { timeOption } from './time-option.ts';

interface Flags extends JobFlags {
  readonly at?: string;
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir inspect card c_7d1fac64 --config examples/demo/weir.yaml
  $ weir inspect terminal 'shop|7' --config job.yaml --at 2026-01-09T12:00:00Z --json

Reads the state store, Redis or LMDB, also while the job runs; nothing is changed. The id is the entity's real one, also
where outputs carry tokens; of several parts, they are joined by |. Features are evaluated at the time given (default:
that of the entity's newest event) as for a moment without an event: windows are (t - width, t], and what compares
with an event's own values is absent. Of texts only hashes are stored. Exit code 3: the store has no such entity.`;

/** \`weir inspect\`: what the state says of one entity. */
export function inspectCommand(): Command {
  return withJobOptions(new Command('inspect').description("show an entity's state and features"))
    .argument('<entity>', "the entity's name in the config, e.g. card")
    .argument('<id>', 'its id')
    .option('--at <time>', 'ISO 8601 with its zone, or milliseconds since the epoch')
    .option('--json', 'print one JSON line')
    .addHelpText('after', examples)
    .action(inspect);
}

async function inspect(entity: string, id: string, flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const at = flags.at === undefined ? undefined : timeOption('--at', flags.at);
  const plan = planOf(job, entity);
  const reader = await openStoreReader(job, surroundingsOf(job));
  try {
    const stored = await reader.read(entity, id);
    if (stored.length === 0) {
      throw new WeirError(
        'INPUT',
        `the store has no ${entity} ${id} for job ${job.config.job}, recipe ${job.set.recipe}: it never came, its state has expired, or it was written with a config of another recipe`,
      );
    }
    const history = readHistory(await reader.read(historyType, historyId));
    const view = viewEntity(job.set, plan, stored, at, knownFromOf(job, plan, history, stored));
    const shown = { entity, id, view, history };
    process.stdout.write(flags.json ? `${JSON.stringify(asJson(job, shown))}\n` : asText(job, shown));
  } finally {
    await reader.close();
  }
}

function planOf({ config, set }: CompiledJob, entity: string): EntityPlan {
  const plan = set.entities.find(({ type }) => type === entity);
  if (plan) return plan;
  const kept = set.entities.map(({ type }) => type);
  const why = Object.hasOwn(config.event.entities, entity)
    ? `no feature is about the entity ${entity}: nothing is kept of it`
    : `there is no entity ${entity}${closest(entity, kept)}`;
  throw new WeirError('CONFIG', `${why}; the state has ${kept.join(', ') || 'none'}`);
}

/** Of an entity that keys the source only the partitions count that have it. */
function knownFromOf(
  { config, set }: CompiledJob,
  plan: EntityPlan,
  history: ReadonlyMap<string, Known>,
  stored: readonly { readonly partition: string }[],
): number {
  const { source, event } = config;
  if (source.kafka === undefined) return Number.NEGATIVE_INFINITY;
  const own = plan.type === event.key ? stored.map(({ partition }) => partition) : undefined;
  return knownFrom(history, latenessOf(set), `${source.kafka.topic}:`, own);
}

/** What is shown of an entity. */
interface Shown {
  readonly entity: string;
  readonly id: string;
  readonly view: EntityView;
  readonly history: ReadonlyMap<string, Known>;
}

const iso = (time: number | undefined): string | null => (time === undefined ? null : new Date(time).toISOString());

function asJson({ config, set }: CompiledJob, { entity, id, view, history }: Shown): object {
  return {
    job: config.job,
    recipe: set.recipe,
    entity,
    id,
    partitions: view.partitions.map((p) => ({
      partition: p.partition,
      offset: p.offset,
      fence: p.fence ?? null,
      events: p.events,
      folded: p.folded,
      oldest: iso(p.oldest),
      newest: iso(p.newest),
      dropped_through: iso(p.droppedThrough),
      pending_labels: p.pendingLabels,
      bytes: p.bytes,
    })),
    at: iso(view.at),
    features: view.features,
    events: view.events.map(({ time, ...rest }) => ({ time: iso(time), ...rest })),
    history: [...history].map(([partition, { from }]) => ({
      partition,
      known_from: Number.isFinite(from) ? iso(from) : null,
    })),
  };
}

function asText({ config, set }: CompiledJob, { entity, id, view, history }: Shown): string {
  const partitions = table(
    [
      ...['partition', 'offset', 'stored through', 'events', 'folded', 'oldest', 'newest', 'dropped through'],
      ...['pending labels', 'bytes'],
    ],
    view.partitions.map((p) => [
      ...[p.partition, p.offset, p.fence ?? '', p.events, p.folded],
      ...[iso(p.oldest) ?? '', iso(p.newest) ?? '', iso(p.droppedThrough) ?? '', p.pendingLabels, p.bytes],
    ]),
  );
  const features = table(
    ['feature', 'value', 'state', 'between'],
    view.features.map(({ name, value, state, bounds }) => [
      name,
      value,
      state,
      bounds?.map((end) => end ?? 'any').join(' … ') ?? '',
    ]),
  );
  const events = table(
    ['time', 'partition', 'retained'],
    view.events.map(({ time, partition, facts, passes }) => [
      iso(time)!,
      partition,
      [...Object.entries(facts).map(([name, value]) => `${name} ${value}`), ...passes].join(', '),
    ]),
  );
  return [
    `${entity} ${id}, job ${config.job}, recipe ${set.recipe}\n`,
    partitions,
    `features at ${iso(view.at) ?? 'no time: no event is retained; --at TIME sets one'}\n`,
    features,
    'newest events\n',
    events,
    ...(history.size === 0 ? [] : ['history that is not known for ever\n', historyTable(history)]),
  ].join('\n');
}

function historyTable(history: ReadonlyMap<string, Known>): string {
  return table(
    ['partition', 'known from'],
    [...history].map(([partition, { from }]) => [partition, Number.isFinite(from) ? iso(from)! : 'not known yet']),
  );
}
