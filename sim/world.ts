import kafkajs from 'kafkajs';
import { redisKeys } from '../features/redis/keys.ts';
import { WeirError } from '../runtime/errors.ts';
import { createReadiness } from '../runtime/http.ts';
import { createVirtualTime, type VirtualTime } from './clock.ts';
import { createFenceHistory, type FenceHistory } from './fence-history.ts';
import { deadTopic, epoch, inputTopic, recordOf, scoredTopic, simulatedJob } from './job.ts';
import type { Attempt, Stretch } from './judge.ts';
import { createBroker, type SimulatedBroker } from './kafka/broker.ts';
import { append } from './kafka/log.ts';
import { watchMemory } from './memory-watch.ts';
import { createSimulatedMetrics } from './metrics.ts';
import { createNetwork, type Port, type RequestFault } from './network.ts';
import { observed } from './observe.ts';
import type { Plan, PlannedRecord } from './plan.ts';
import { createProcess, type SimulatedProcess } from './process.ts';
import { createChance } from './random.ts';
import { createRedisServer, type RedisServer } from './redis/server.ts';
import { describeStored, nameOf, watchStore } from './store-watch.ts';
import { type Trace, tracedLog } from './trace.ts';
import type { Violation } from './violation.ts';
import { type Alterations, both, runWeir } from './weir.ts';

/** Everything that a run consists of, and what can be done to it from outside. */
export interface World {
  readonly time: VirtualTime;
  /** The next thing that happens; false when nothing will. */
  step(): Promise<boolean>;
  readonly broker: SimulatedBroker;
  readonly servers: readonly RedisServer[];
  readonly fences: FenceHistory;
  readonly attempts: Map<string, Attempt[]>;
  /** By partition: what was to be published until an operator set its offset, and where it goes on since. */
  readonly stretches: Map<number, Stretch[]>;
  readonly resets: Map<number, number>;
  /** By partition: what was deleted before it was published. */
  readonly deletedUnread: Map<number, Stretch[]>;
  /** By partition: how many records were counted as lost, over all processes. */
  readonly countedLost: Map<number, number>;
  /** An operator has stopped all processes. */
  isStopped: boolean;
  readonly trace: Trace;
  readonly instances: Instance[];
  hasGrown: boolean;
  /** The input has grown before the group had a position. */
  hasGrownUnseen: boolean;
  hasTruncated: boolean;
  /** From now on nothing goes wrong any more. */
  isHealed: boolean;
  /** The first thing that did not hold while it ran. */
  violation: Error | undefined;
  start(name: string): Instance;
  append(record: PlannedRecord, id: string): void;
  /** Whether there is one member in the group, and it has everything. */
  isAlone(): boolean;
  /** Whether all is published, and stored. */
  isDrained(): boolean;
}

/** One life of a weir process. */
export interface Instance {
  readonly process: SimulatedProcess;
  /** Tells it to stop, as SIGTERM does. */
  readonly stop: AbortController;
  hasEnded: boolean;
  /** How many entities it has in memory. */
  entities(): number;
}

export interface WorldOptions {
  readonly trace: Trace;
  /** Strikes requests, see plan.ts. */
  readonly strike: (port: Port) => RequestFault | undefined;
  /** Asked after each call of a flush: how many changes the server loses right then by a fail-over; 0: none. */
  readonly lostByFlush: () => number;
  readonly alter: (of: Alterations) => Alterations;
}

const outputPartitions = 32;
/** Errors that end a process although nothing is wrong with it: it is started again. */
const passing = new Set(['STORE', 'BROKER', 'MODEL', 'FENCED']);

export function createWorld(plan: Plan, { trace, strike, lostByFlush, alter }: WorldOptions): World {
  const { seed, settings } = plan;
  const time = createVirtualTime(createChance(seed, 'order'));
  const traced: Trace = (line) => trace(`${time.now().toFixed(3).padStart(10)} ${line}`);
  const network = createNetwork({
    time,
    chance: createChance(seed, 'network'),
    strike(process, port) {
      const fault = world.isHealed ? undefined : strike(port);
      if (fault) traced(`FAULT ${JSON.stringify(fault)} at ${port} of ${process.name}`);
      return fault;
    },
    crash: (process) => process.kill(),
    pause(process, forMs) {
      process.pause();
      time.after(forMs, () => process.resume());
    },
  });
  const broker = createBroker({
    time,
    chance: createChance(seed, 'broker'),
    partitions: settings.partitions,
    outputs: [scoredTopic, deadTopic],
    outputPartitions,
    protocol: settings.isSticky ? 'weir-sticky' : 'RoundRobinAssigner',
    sessionMs: settings.sessionMs,
    rebalanceMs: 60_000,
    onDecided: ({ id, offsets }) =>
      traced(`commit of ${id} is decided: ${[...offsets].map(([partition, { offset }]) => `${partition}:${offset}`)}`),
    onShared(generation, all) {
      shares = all.map(({ memberId, memberAssignment }) => {
        const decoded = kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment);
        return [memberId, decoded?.assignment[inputTopic] ?? []] as const;
      });
      traced(`generation ${generation}: ${JSON.stringify(shares)}`);
    },
  });
  let shares: (readonly [memberId: string, partitions: readonly number[]])[] = [];
  const fences = createFenceHistory();
  const watch = watchStore({
    decided: broker.coordinator.decided,
    isWhole: () => !world.hasTruncated,
    violated,
  });
  const servers = Array.from({ length: settings.servers }, () =>
    createRedisServer(
      () => epoch + time.now(),
      {
        ...watch,
        text(key, value) {
          watch.text(key, value);
          traced(`${key} = ${value}`);
        },
        field(key, field, value) {
          watch.field(key, field, value);
          if (field !== 'v') traced(`${key} ${field} = ${describeStored(key, value)}`);
        },
      },
      (server) => {
        const lostChanges = world.isHealed ? 0 : lostByFlush();
        if (lostChanges === 0) return;
        traced(`FAIL-OVER after a call of a flush: ${lostChanges} changes are lost`);
        server.failOver(lostChanges);
      },
    ),
  );
  const outside = {
    time,
    chance: createChance(seed, 'client'),
    network,
    broker,
    servers,
    fetchRecords: settings.fetchRecords,
    callKeys: settings.callKeys,
  };
  const job = simulatedJob(settings);

  function violated(violation: Violation): void {
    world.violation ??= violation;
  }

  function start(name: string): Instance {
    const process = createProcess(name, time, epoch);
    const metrics = createSimulatedMetrics(world.countedLost);
    const { isDegraded, entities } = metrics;
    const instance: Instance = { process, stop: new AbortController(), hasEnded: false, entities };
    world.instances.push(instance);
    traced(`${name} starts`);
    const log = tracedLog(traced, name);
    const surroundings = {
      clock: process.clock,
      log,
      metrics,
      readiness: createReadiness([], () => {}),
    };
    const watched = watchMemory({ settings, broker, name, isDegraded, violated });
    const alterations = alter(both(watched, observed(time, world.attempts, traced, name, isDegraded)));
    runWeir(job, outside, process, surroundings, alterations, instance.stop.signal).then(
      () => {
        traced(`${name} ended`);
        instance.hasEnded = true;
        process.kill();
      },
      (error: unknown) => {
        traced(`${name} ended: ${String(error)}`);
        instance.hasEnded = true;
        process.kill();
        if (!(error instanceof WeirError && passing.has(error.code))) world.violation ??= error as Error;
      },
    );
    return instance;
  }

  const world: World = {
    time,
    async step() {
      const isMore = await time.step();
      noteFences();
      return isMore;
    },
    broker,
    servers,
    fences,
    attempts: new Map(),
    stretches: new Map(),
    resets: new Map(),
    deletedUnread: new Map(),
    countedLost: new Map(),
    isStopped: false,
    trace: traced,
    instances: [],
    hasGrown: false,
    hasGrownUnseen: false,
    hasTruncated: false,
    isHealed: false,
    violation: undefined,
    start,
    append(record, id) {
      const partition = record.card % broker.input.partitions.length;
      const made = recordOf({ ...record, atMs: Math.floor(time.now()) }, id);
      const offset = append(broker.input.partitions[partition], made);
      traced(`${nameOf(partition)}:${offset} ${record.kind} ${id} card ${record.card} shop ${record.shop}`);
    },
    isAlone: () =>
      broker.group.size === 1 && shares.some(([, { length }]) => length === broker.input.partitions.length),
    isDrained: () =>
      broker.input.partitions.every(({ entries, earliest }, partition) => {
        const committed = broker.coordinator.decided(partition) ?? 0;
        const from = Math.max(committed, earliest);
        const left = entries.findIndex((entry, offset) => offset >= from && entry !== undefined);
        return left < 0 && fenceOf(partition) >= committed;
      }),
  };

  const keys = redisKeys({ prefix: 'weir', job: job.config.job, recipe: job.set.recipe, groups: settings.groups });
  const fenceKeys = Array.from({ length: outputPartitions }, (_, partition) =>
    Array.from({ length: settings.groups }, (_, group) => keys.fence(group, nameOf(partition))),
  );

  /** The lowest over the slot groups. */
  function fenceOf(partition: number): number {
    const held = fenceKeys[partition].map((key, group) => servers[group % servers.length].keyspace.text(key));
    return Math.min(...held.map((text) => Number(text ?? 0)));
  }

  let versions = 0;
  function noteFences(): void {
    const sum = servers.reduce((total, { keyspace }) => total + keyspace.version, 0);
    if (sum === versions) return;
    versions = sum;
    fences.note(time.now(), new Map(broker.input.partitions.map((_, partition) => [partition, fenceOf(partition)])));
  }

  return world;
}
