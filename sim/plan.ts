import type { Port, RequestFault } from './network.ts';
import { type Chance, createChance } from './random.ts';

/** All that is decided before a run: the same plan gives the same run. */
export interface Plan {
  readonly seed: number;
  readonly settings: Settings;
  readonly records: readonly PlannedRecord[];
  readonly faults: readonly Fault[];
}

export interface Settings {
  readonly delivery: 'exactly-once' | 'at-least-once';
  readonly processes: number;
  readonly partitions: number;
  readonly isSticky: boolean;
  readonly sessionMs: number;
  readonly servers: number;
  readonly groups: number;
  readonly flushMs: number;
  readonly refreshMs: number;
  readonly cacheEntities: number;
  /** Most entities of one call of a flush. */
  readonly callKeys: number;
  readonly maxEvents: number;
  readonly prefetchRecords: number;
  readonly fetchRecords: number;
  readonly isDeduplicating: boolean;
  /** `state.when_away: degrade`. */
  readonly isDegrading: boolean;
  /** Shops have only delayed features, of which copies are used for longer. */
  readonly areShopsDelayed: boolean;
}

export type RecordKind = 'valid' | 'repeat' | 'not-json' | 'lacks-card' | 'negative' | 'empty' | 'marker';

export interface PlannedRecord {
  /** When it is appended, virtual milliseconds. */
  readonly atMs: number;
  readonly kind: RecordKind;
  readonly card: number;
  readonly shop: number;
  /** Minor units. */
  readonly amount: number;
  /** How late the event comes against those before it, milliseconds. */
  readonly lateMs: number;
  /** How long before its append it happened, milliseconds: a backlog reaches back. */
  readonly ageMs: number;
}

/** One thing that goes wrong. */
export type Fault =
  /** Strikes the nth request of the port, whoever makes it. */
  | { readonly at: 'request'; readonly port: Port; readonly nth: number; readonly fault: RequestFault }
  /** After the nth call of a flush that a server has carried out its replica takes over, without the last changes. */
  | { readonly at: 'flushed'; readonly nth: number; readonly lostChanges: number }
  | { readonly at: 'time'; readonly ms: number; readonly event: WorldEvent };

export type WorldEvent =
  | { readonly kind: 'kill'; readonly process: number }
  | { readonly kind: 'pause'; readonly process: number; readonly forMs: number }
  /** As by SIGTERM; it is started again. */
  | { readonly kind: 'stop'; readonly process: number }
  | { readonly kind: 'rebalance' }
  | { readonly kind: 'grow'; readonly by: number }
  /** Records that are read and published are deleted. @param share of them. */
  | { readonly kind: 'retention'; readonly partition: number; readonly share: number }
  /** As soon as a partition has so many records that are not published, some are deleted. @param share of them. */
  | {
      readonly kind: 'retention-unread';
      readonly partition: number;
      readonly behind: number;
      readonly share: number;
    }
  | { readonly kind: 'redis-restart'; readonly server: number; readonly isDataKept: boolean }
  | { readonly kind: 'redis-fail-over'; readonly server: number; readonly lostChanges: number }
  | { readonly kind: 'redis-away'; readonly server: number; readonly forMs: number }
  /** By an operator while the group is stopped. @param share of the log. */
  | { readonly kind: 'reset-offset'; readonly partition: number; readonly share: number };

export function planRun(seed: number): Plan {
  const chance = createChance(seed, 'plan');
  const ofFlushes = createChance(seed, 'flushes');
  const degrade = createChance(seed, 'degrade');
  const settings = {
    ...planSettings(chance, ofFlushes),
    isDegrading: degrade.isTrue(0.2),
    areShopsDelayed: createChance(seed, 'delayed').isTrue(0.3),
  };
  const lengthMs = chance.duration(3_000, 15_000);
  return {
    seed,
    settings,
    records: planRecords(chance, lengthMs),
    faults: [
      ...Array.from({ length: chance.between(0, 7) }, () => planFault(chance, settings, lengthMs)),
      ...planFailOvers(ofFlushes),
      ...planZombie(createChance(seed, 'zombie'), settings),
      ...planLoss(createChance(seed, 'loss'), settings, lengthMs),
      ...planGrowth(createChance(seed, 'growth'), settings, lengthMs),
      ...(settings.isDegrading ? [planAway(degrade, settings, lengthMs)] : []),
    ],
  };
}

/**
 * A process stands still right before it publishes, and goes on when its successor has just begun. Drawn on purpose: a pause of some length
 * hardly ever ends there, and before and after the brokers protect by themselves.
 */
function planZombie(chance: Chance, { processes, delivery }: Settings): Fault[] {
  if (processes < 2 || delivery !== 'exactly-once' || !chance.isTrue(0.3)) return [];
  const port = chance.oneOf<Port>(['send', 'offsets']);
  const fault = { kind: 'overtaken', afterMs: chance.duration(0, 20) } as const;
  return [{ at: 'request', port, nth: chance.between(1, 40), fault }];
}

/** The log's retention is too short for how far the job is behind. Rare: from then on much is marked, and little is judged exactly. */
function planLoss(chance: Chance, { partitions }: Settings, lengthMs: number): Fault[] {
  if (!chance.isTrue(0.15)) return [];
  return Array.from({ length: chance.between(1, 2) }, () => ({
    at: 'time',
    ms: chance.duration(0, lengthMs),
    event: {
      kind: 'retention-unread',
      partition: chance.between(0, partitions - 1),
      behind: chance.between(1, 8),
      share: chance.next(),
    },
  }));
}

/** The topic grows, and later all processes begin anew on an empty store: keys have moved, and nobody has seen it. By chance that would be rare. */
function planGrowth(chance: Chance, { processes, partitions, servers }: Settings, lengthMs: number): Fault[] {
  if (!chance.isTrue(0.15)) return [];
  const grownMs = chance.duration(1_000, Math.max(1_000, lengthMs * 0.7));
  const endMs = grownMs + chance.duration(200, 6_000);
  const at = (ms: number, event: WorldEvent): Fault => ({ at: 'time', ms, event });
  return [
    at(grownMs, { kind: 'grow', by: chance.between(1, 3) }),
    ...(chance.isTrue(0.5)
      ? [at(endMs, { kind: 'retention', partition: chance.between(0, partitions - 1), share: chance.next() })]
      : []),
    ...Array.from({ length: processes }, (_, process) => at(endMs, { kind: 'kill', process })),
    ...Array.from({ length: servers }, (_, server) =>
      at(endMs + chance.duration(0, 500), { kind: 'redis-restart', server, isDataKept: chance.isTrue(0.2) }),
    ),
  ];
}

/** Without this, few of the runs that go on without the store would have to. */
function planAway(chance: Chance, { servers }: Settings, lengthMs: number): Fault {
  const event = {
    kind: 'redis-away',
    server: chance.between(0, servers - 1),
    forMs: chance.duration(50, 8_000),
  } as const;
  return { at: 'time', ms: chance.duration(0, lengthMs), event };
}

function planSettings(chance: Chance, ofFlushes: Chance): Omit<Settings, 'isDegrading' | 'areShopsDelayed'> {
  const servers = chance.between(1, 3);
  return {
    delivery: chance.isTrue(0.3) ? 'at-least-once' : 'exactly-once',
    processes: chance.between(1, 3),
    partitions: chance.between(1, 4),
    isSticky: chance.isTrue(0.5),
    sessionMs: chance.oneOf([3_000, 6_000]),
    servers,
    groups: Math.max(servers, chance.between(1, 4)),
    flushMs: chance.oneOf([0, 20, 200, 1_000]),
    refreshMs: chance.oneOf([0, 50, 200]),
    cacheEntities: chance.oneOf([2, 4, 100]),
    callKeys: ofFlushes.oneOf([1, 2, 256]),
    maxEvents: chance.oneOf([1, 3, 10, 30]),
    prefetchRecords: chance.oneOf([1, 5, 100]),
    fetchRecords: chance.oneOf([2, 8, 30]),
    isDeduplicating: chance.isTrue(0.7),
  };
}

const damaged: readonly RecordKind[] = ['not-json', 'lacks-card', 'negative', 'empty'];

function planRecords(chance: Chance, lengthMs: number): PlannedRecord[] {
  const count = chance.between(20, 120);
  const cards = chance.between(2, 8);
  const shops = chance.between(1, 4);
  const backlog = chance.isTrue(0.3) ? chance.next() : 0;
  const kind = (): RecordKind => {
    if (chance.isTrue(0.06)) return 'repeat';
    if (chance.isTrue(0.04)) return 'marker';
    return chance.isTrue(0.06) ? chance.oneOf(damaged) : 'valid';
  };
  const records = Array.from({ length: count }, () => ({
    atMs: chance.isTrue(backlog) ? 0 : Math.floor(chance.duration(0, lengthMs)),
    kind: kind(),
    card: chance.between(0, cards - 1),
    shop: chance.between(0, shops - 1),
    amount: chance.between(1, 9_999),
    lateMs: chance.isTrue(0.2) ? chance.between(0, 2_000) : 0,
    ageMs: 0,
  })).sort((a, b) => a.atMs - b.atMs);
  const reachMs = chance.oneOf([0, 1_800_000, 10_800_000]);
  const ages = records.map(() => chance.between(0, reachMs)).sort((a, b) => b - a);
  return records.map((record, index) => (record.atMs > 0 ? record : { ...record, ageMs: ages[index] }));
}

/** How often a run asks each, more or less: faults are to strike within. */
const usual: readonly (readonly [Port, number])[] = [
  ['load', 90],
  ['flush', 90],
  ['fence', 8],
  ['scripts', 4],
  ['init', 10],
  ['send', 40],
  ['offsets', 40],
  ['end', 40],
  ['position', 6],
  ['checkpoint', 40],
  ['metadata', 12],
  ['fetch', 100],
  ['join', 6],
  ['sync', 6],
  ['heartbeat', 60],
  ['leave', 3],
  ['model', 40],
];

function planFault(chance: Chance, settings: Settings, lengthMs: number): Fault {
  if (chance.isTrue(0.4)) return { at: 'time', ms: chance.duration(0, lengthMs), event: planEvent(chance, settings) };
  const [port, count] = chance.oneOf(usual);
  const nth = chance.between(1, count);
  const fault = planRequestFault(chance, settings);
  return { at: 'request', port, nth, fault: isPossible(port, fault) ? fault : { kind: 'answer-lost' } };
}

/** Between the calls of a flush, where there are several: no time and no request hits that. */
function planFailOvers(chance: Chance): Fault[] {
  return Array.from({ length: chance.oneOf([0, 0, 3, 9]) }, () => ({
    at: 'flushed',
    nth: chance.between(1, 150),
    lostChanges: chance.between(1, 6),
  }));
}

/** A broker has a queue for all connections: a commit that was given up is not overtaken by those that came in later. */
function isPossible(port: Port, { kind }: RequestFault): boolean {
  return port !== 'checkpoint' || kind !== 'request-late';
}

function planRequestFault(chance: Chance, settings: Settings): RequestFault {
  const isSent = chance.isTrue(0.6);
  switch (chance.between(0, 6)) {
    case 0:
    case 1:
      return { kind: 'crash', isSent };
    case 2:
      return { kind: 'pause', isSent, forMs: pauseMs(chance, settings) };
    case 3:
      return { kind: 'request-lost' };
    case 4:
      return { kind: 'answer-lost' };
    case 5:
      return { kind: 'request-late', byMs: chance.duration(0, 4_000) };
    default:
      return { kind: 'slow', byMs: chance.duration(20, 3_000) };
  }
}

/** Mostly long enough for the group to give the process up. */
function pauseMs(chance: Chance, { sessionMs }: Settings): number {
  return chance.isTrue(0.7) ? sessionMs + chance.duration(0, 12_000) : chance.duration(10, sessionMs);
}

function planEvent(chance: Chance, settings: Settings): WorldEvent {
  const process = chance.between(0, settings.processes - 1);
  const server = chance.between(0, settings.servers - 1);
  const partition = chance.between(0, settings.partitions - 1);
  switch (chance.between(0, 10)) {
    case 0:
      return { kind: 'kill', process };
    case 1:
      return { kind: 'pause', process, forMs: pauseMs(chance, settings) };
    case 2:
      return { kind: 'stop', process };
    case 3:
      return { kind: 'rebalance' };
    case 4:
      return { kind: 'grow', by: chance.between(1, 3) };
    case 5:
      return { kind: 'retention', partition, share: chance.next() };
    case 6:
      return { kind: 'redis-restart', server, isDataKept: chance.isTrue(0.5) };
    case 7:
    case 8:
      return { kind: 'redis-fail-over', server, lostChanges: chance.between(1, 60) };
    case 9:
      return { kind: 'redis-away', server, forMs: chance.duration(50, 8_000) };
    default:
      return { kind: 'reset-offset', partition, share: chance.next() };
  }
}
