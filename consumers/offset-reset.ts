import type { Rewinder } from '../features/rewinder.ts';
import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { openRewinder, openSink, openSource, type Surroundings } from './components.ts';
import type { KafkaSourceConfig } from './kafka/config.ts';
import { type GroupView, viewGroup } from './kafka/group-view.ts';
import { demandPositions, type PlannedMove, planMoves, planned, type ResetTarget } from './offset-plan.ts';
import { groupOf } from './offsets.ts';
import type { Output, Ownership, Sink, Source } from './ports.ts';

/** A reset that is thought out, and may be carried out. The state store is open until it is closed. */
export interface OffsetReset {
  readonly moves: readonly PlannedMove[];
  /**
   * Does it, as the owner of all partitions: state first, positions last. Interrupted anywhere, positions are where they were, and what is
   * missing of the state is made anew at the next start, or by the same command again.
   * @throws WeirError FENCED when a process joins the group meanwhile, or a position has moved.
   */
  carryOut(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Finds out what moving the group's positions would do. Changes nothing.
 * @param only partitions to move; undefined for all.
 * @throws WeirError CONFIG while somebody is in the group, where the state is not its own, or where positions are not a consumer group's.
 */
export async function planReset(
  job: CompiledJob,
  target: ResetTarget,
  only: readonly number[] | undefined,
  surroundings: Surroundings,
): Promise<OffsetReset> {
  const kafka = groupOf(job);
  const view = await viewGroup(kafka, surroundings);
  let rewinder: Rewinder | undefined;
  try {
    await demandEmpty(view, kafka);
    rewinder = await openRewinder(job, surroundings);
    const offsets = await view.offsets();
    const atTime = 'time' in target ? await view.offsetsAt(target.time) : new Map<number, number>();
    const moves = planMoves(kafka.topic, offsets, target, only, atTime);
    const fences = await rewinder.fences(moves.map(({ name }) => name));
    const beyond = await rewinder.countBeyond(limitsOf(moves));
    const plan = moves.map((move, index) => planned(move, fences[index], beyond.get(move.name) ?? 0, kafka.start));
    demandPositions(job.config.job, kafka, plan);
    const opened = rewinder;
    return {
      moves: plan,
      async carryOut() {
        await demandEmpty(view, kafka);
        await carryOut(job, plan, opened, surroundings);
      },
      async close() {
        await opened.close();
        await view.close();
      },
    };
  } catch (error) {
    await rewinder?.close();
    await view.close();
    throw error;
  }
}

function limitsOf(moves: readonly { readonly name: string; readonly to: number }[]): Map<string, number> {
  return new Map(moves.map(({ name, to }) => [name, to]));
}

/** Whoever scores, or builds state beside, must not be surprised. */
async function demandEmpty(view: GroupView, { group }: KafkaSourceConfig): Promise<void> {
  for (const name of [group, `${group}.backfill`]) {
    const { members } = await view.group(name);
    if (members.length === 0) continue;
    const processes = members.map(({ clientId, host }) => `${clientId} at ${host}`).join(', ');
    throw new WeirError(
      'CONFIG',
      `group ${name} has members: ${processes}. Stop them first; one that was killed is a member until its session times out`,
    );
  }
}

async function carryOut(
  job: CompiledJob,
  moves: readonly PlannedMove[],
  rewinder: Rewinder,
  surroundings: Surroundings,
): Promise<void> {
  const source = await openSource(job, surroundings);
  let sink: Sink | undefined;
  try {
    const owned = await ownAll(source, groupOf(job), surroundings);
    sink = await openSink(job, surroundings);
    const demand = () => demandOwned(owned, groupOf(job));
    const outputs: Output[] = [];
    for (const move of moves) {
      demand();
      const output = await sink.open(owned.get(move.partition)!);
      outputs.push(output);
      demandUnmoved(move, await output.position());
    }
    const rewound = moves.filter(({ isRewound }) => isRewound);
    if (rewound.length > 0) await rewinder.eraseBeyond(limitsOf(rewound), demand);
    for (const [index, { to }] of moves.entries()) {
      demand();
      await outputs[index].publish({ events: [], deadLetters: [] }, to);
      await outputs[index].sync?.();
    }
  } finally {
    await sink?.close();
    await source.close();
  }
}

/** Joins the group, which is empty: as long as nobody else joins, no process can begin in the middle. */
async function ownAll(
  source: Source,
  { group, session_timeout_ms, connect_timeout_ms }: KafkaSourceConfig,
  { clock }: Surroundings,
): Promise<Map<number, Ownership>> {
  const late = new AbortController();
  const prevent = clock.after(session_timeout_ms + connect_timeout_ms, () => late.abort());
  const owned = new Map<number, Ownership>();
  try {
    for await (const ownership of source.ownerships(late.signal)) {
      owned.set(ownership.partition, ownership);
      for (const [partition, { revoked }] of owned) if (revoked.aborted) owned.delete(partition);
      if (owned.size === ownership.partitions) return owned;
    }
  } finally {
    prevent();
  }
  throw joined(group);
}

function demandOwned(owned: ReadonlyMap<number, Ownership>, { group }: KafkaSourceConfig): void {
  for (const { revoked } of owned.values()) if (revoked.aborted) throw joined(group);
}

function joined(group: string): WeirError {
  return new WeirError(
    'FENCED',
    `a process has joined group ${group} meanwhile: stop it, and run the command again; what is not done yet was left as it is`,
  );
}

function demandUnmoved({ name, committed }: PlannedMove, position: number | undefined): void {
  if (position === committed) return;
  throw new WeirError(
    'FENCED',
    `the position of ${name} was ${committed ?? 'none'} and is ${position ?? 'none'} now: somebody else moves it; nothing is changed, run the command again`,
  );
}
