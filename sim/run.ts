import { type Evidence, judge } from './judge.ts';
import type { Port, RequestFault } from './network.ts';
import { type Fault, type Plan, type PlannedRecord, planRun, type Settings } from './plan.ts';
import type { Trace } from './trace.ts';
import { Violation } from './violation.ts';
import type { Alterations } from './weir.ts';
import { createWorld, type Instance, type World } from './world.ts';
import { happen } from './world-events.ts';

export interface RunOptions {
  readonly trace?: Trace;
  /** A mutant's changes to the ports. */
  readonly alter?: (of: Alterations) => Alterations;
}

/** How one run went. */
export interface Outcome {
  readonly plan: Plan;
  /** What did not hold; undefined when all did. */
  readonly failure: string | undefined;
  readonly steps: number;
  /** Virtual milliseconds. */
  readonly ms: number;
}

const settleMs = 500;
/** Everything is mended: by then all must be published and stored. */
const patienceMs = 400_000;
const mostSteps = 200_000;

export function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  return runPlan(planRun(seed), options);
}

/** One run from its beginning, through its faults, to the judgement. */
export async function runPlan(plan: Plan, { trace = () => {}, alter = (of) => of }: RunOptions): Promise<Outcome> {
  const world = createWorld(plan, { trace, strike: strikes(plan.faults), lostByFlush: losses(plan.faults), alter });
  let steps = 0;

  async function until(holds: () => boolean, limitMs: number, what: string): Promise<void> {
    const deadline = world.time.now() + limitMs;
    while (!holds()) {
      if (world.violation !== undefined) throw world.violation;
      if (steps++ > mostSteps || world.time.now() > deadline || !(await world.step())) {
        throw new Violation(
          'progress',
          `after ${Math.round(world.time.now())} ms and ${steps} steps still not: ${what}`,
        );
      }
    }
  }

  let failure: string | undefined;
  try {
    const lastMs = schedule(plan, world);
    const processes = supervise(plan, world);
    await until(() => world.time.now() > lastMs, lastMs + patienceMs, 'the end of the faults');
    world.isHealed = true;
    for (const { process } of world.instances) process.resume();
    for (const server of world.servers) server.isAway = false;
    await until(world.isDrained, patienceMs, 'all published and stored');
    processes.stop();
    await until(processes.haveEnded, patienceMs, 'all processes ended');
    const probes = await probe(plan, world, until);
    judge(evidenceOf(plan, world, probes));
  } catch (error) {
    failure = error instanceof Violation ? error.message : `${(error as Error).stack}`;
  }
  return { plan, failure, steps, ms: world.time.now() };
}

function strikes(faults: readonly Fault[]): (port: Port) => RequestFault | undefined {
  const counts = new Map<Port, number>();
  const byRequest = new Map(
    faults.flatMap((fault) => (fault.at === 'request' ? [[`${fault.port} ${fault.nth}`, fault.fault] as const] : [])),
  );
  return (port) => {
    const count = (counts.get(port) ?? 0) + 1;
    counts.set(port, count);
    return byRequest.get(`${port} ${count}`);
  };
}

function losses(faults: readonly Fault[]): () => number {
  const byCall = new Map(
    faults.flatMap((fault) => (fault.at === 'flushed' ? [[fault.nth, fault.lostChanges] as const] : [])),
  );
  let calls = 0;
  return () => byCall.get(++calls) ?? 0;
}

/** @returns when the last thing happens that is planned. */
function schedule({ records, faults }: Plan, world: World): number {
  let last = 0;
  const ids: string[] = [];
  for (const [index, record] of records.entries()) {
    last = Math.max(last, record.atMs);
    // Somewhere among those of the same card before it.
    const former = records.findLastIndex((one, at) => at < index && one.card === record.card && one.kind === 'valid');
    ids.push(record.kind === 'repeat' && former >= 0 ? ids[former] : `t${index}`);
    // Those of the same time in their order.
    world.time.after(record.atMs + index / 1_000, () => world.append(record, ids[index]));
  }
  for (const fault of faults) {
    if (fault.at !== 'time') continue;
    last = Math.max(last, fault.ms);
    world.time.after(fault.ms, () => happen(world, fault.event));
  }
  return last + settleMs;
}

/** Keeps as many processes alive as there are to be. */
function supervise({ settings }: Plan, world: World) {
  let isStopping = false;
  let lives = 0;

  function keep(slot: number): void {
    const instance = world.start(`w${slot}.${lives++}`);
    const look = () => {
      if (isStopping) return;
      const isGone = instance.hasEnded || instance.process.state === 'dead';
      if (isGone && !world.isStopped) keep(slot);
      else world.time.after(restartMs, look);
    };
    world.time.after(restartMs, look);
  }

  for (let slot = 0; slot < settings.processes; slot++) world.time.after(slot * 10, () => keep(slot));
  return {
    stop() {
      isStopping = true;
      for (const { stop } of world.instances) stop.abort();
    },
    haveEnded: () => world.instances.every(hasEnded),
  };
}

const restartMs = 700;
/** By then a process has taken over everything, when nothing goes wrong. */
const readyMs = 8_000;

export function hasEnded({ hasEnded, process }: Instance): boolean {
  return hasEnded || process.state === 'dead';
}

/** One process that owns everything scores one more event of each entity: what came of the state is seen in its features. */
async function probe(
  { records, settings }: Plan,
  world: World,
  until: (holds: () => boolean, limitMs: number, what: string) => Promise<void>,
): Promise<Set<string>> {
  const ids = new Set<string>();
  const instance = world.start('probe');
  const shops = new Set(records.map(({ shop }) => shop));
  // Members that nobody has heard of for a while may still be there.
  await until(() => world.isAlone(), patienceMs, 'the last process alone in its group');
  const readyAt = world.time.now() + readyMs;
  await until(() => world.time.now() > readyAt, patienceMs, 'the last process has begun');
  for (const card of new Set(records.map((record) => record.card))) {
    const id = `probe-${card}`;
    ids.add(id);
    const shop = [...shops][card % shops.size];
    world.append({ atMs: 0, kind: 'valid', card, shop, amount: 100, lateMs: 0, ageMs: 0 }, id);
    await until(world.isDrained, patienceMs, `the probe of card ${card} published and stored`);
  }
  judgeEntities(instance, records, settings);
  instance.stop.abort();
  await until(() => instance.hasEnded, patienceMs, 'the last process ended');
  return ids;
}

/** What has read nothing but one event after the other, each of them stored, holds of each type what fits in two generations and no more. */
function judgeEntities({ process, entities }: Instance, records: readonly PlannedRecord[], settings: Settings): void {
  const { cacheEntities, isDeduplicating } = settings;
  const most = 2 * (Math.floor(cacheEntities / 2) + 1);
  const cards = new Set(records.map(({ card }) => card)).size;
  const shops = new Set(records.map(({ shop }) => shop)).size;
  const types = isDeduplicating ? [cards, shops, cards] : [cards, shops];
  const bound = types.reduce((total, count) => total + Math.min(count, most), 0);
  if (entities() <= bound) return;
  throw new Violation('memory', `${process.name} has ${entities()} entities in memory, of ${bound} at most`);
}

function evidenceOf({ settings }: Plan, world: World, probes: ReadonlySet<string>): Evidence {
  const { broker, fences, attempts, stretches, hasGrown, hasGrownUnseen, hasTruncated } = world;
  const { deletedUnread, countedLost } = world;
  const ends = new Map(
    broker.input.partitions.map(({ entries }, partition) => {
      const former = stretches.get(partition) ?? [];
      const from = world.resets.get(partition) ?? 0;
      return [partition, [...former, { from, to: entries.length }]] as const;
    }),
  );
  return {
    ...{ broker, settings, fences, attempts, stretches: ends, probes },
    ...{ hasGrown, hasGrownUnseen, hasTruncated, deletedUnread, countedLost },
  };
}
