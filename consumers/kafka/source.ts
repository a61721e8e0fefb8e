import type { Admin, Kafka } from 'kafkajs';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { processName } from '../../runtime/process-name.ts';
import { createGained } from '../gained.ts';
import type { RecordFormat, Source } from '../ports.ts';
import { type Assignment, assignmentChange } from './assignment.ts';
import { connectAdmin, countPartitions, createClient, type KafkaLog } from './client.ts';
import { carriedOutOffsets, carriedOutPositions, committedOffset } from './committed-offset.ts';
import { demandUncompacted } from './compaction.ts';
import type { KafkaSourceConfig } from './config.ts';
import { brokerFault, isRefusal, missingTopic, protocolType } from './faults.ts';
import { createFetcher, type Fetcher, type FetcherEvents } from './fetcher.ts';
import { type GroupEvents, type GroupMember, joinGroup, newIdentity } from './group-member.ts';
import { createGrowth } from './growth.ts';
import { type Liveness, watchLiveness } from './liveness.ts';
import { createLogRanges, type LogRange } from './log-ranges.ts';
import { createOwnedPartition, type OwnedPartition } from './owned-partition.ts';

export interface KafkaSourceOptions {
  /** Most records in one batch. */
  readonly maxEvents: number;
  /** What the topic's record values are: Kafka itself does not say. */
  readonly format: RecordFormat;
  readonly clock: Clock;
  readonly log?: KafkaLog;
  /** Told with each assignment which generation of the group the process is in. */
  readonly onJoined?: (generation: number) => void;
  /** Told when the brokers are lost or silent, on each vain attempt to come back, and (undefined) when the group is joined again. */
  readonly onTrouble?: (error: WeirError | undefined) => void;
}

const firstWaitMs = 200;
const longestWaitMs = 5_000;

/**
 * Partitions of one topic, shared by consumer group. The client's protocol is eager: every rebalance asks all members to join anew. But until
 * all have done so nobody gets anything, so each goes on with what it has, and what it has again afterwards it keeps as if nothing had been.
 */
export function createKafkaSource(config: KafkaSourceConfig, options: KafkaSourceOptions): Source {
  const client = createClient(config, options.log);
  const { clock } = options;
  const identity = newIdentity(processName(config.process_name));
  const parts: KafkaSourceParts = {
    client,
    join: (events) => joinGroup(client, config, identity, clock, events),
    fetch: (events) => createFetcher(client, config, clock, events),
  };
  return sourceOver(parts, config, options);
}

/** What the source is made of: a cluster's client, the way into the group, and the records. */
export interface KafkaSourceParts {
  readonly client: Kafka;
  /** Enters the group, see group-member.ts. */
  readonly join: (events: GroupEvents) => GroupMember;
  readonly fetch: (events: FetcherEvents) => Fetcher;
}

export function sourceOver(
  { client, join, fetch }: KafkaSourceParts,
  config: KafkaSourceConfig,
  options: KafkaSourceOptions,
): Source {
  const { clock } = options;
  const gained = createGained();
  const closing = new AbortController();
  const owned = new Map<number, OwnedPartition>();
  const confirmation = createConfirmation(clock);
  const ranges = createLogRanges(client, config.topic, clock);
  let admin: Promise<Admin> | undefined;
  let partitions = 0;
  const growth = createGrowth(clock);
  /** What positions say of it is known. */
  let hasLearnt = false;
  let isAdded = (_partition: number) => false;
  let assigned: Assignment | undefined;
  let liveness: Liveness | undefined;
  let running: Promise<void> | undefined;
  /** Before the group is joined anew: joining alone does not say that what broke the last membership is over. */
  const backoff = createBackoff(firstWaitMs, longestWaitMs);
  let breakMembership = (_fault: unknown) => {};
  const fetcher = fetch({
    asking: (node) => liveness?.asking(node),
    answered(node) {
      backoff.reset();
      liveness?.answered(node);
    },
    leading: (nodes) => liveness?.leading(nodes),
    failed: (error) => breakMembership(error),
  });

  function revoke(partition: number): void {
    owned.get(partition)?.revoke();
    owned.delete(partition);
  }

  function revokeAll(): void {
    assigned = undefined;
    for (const partition of owned.keys()) revoke(partition);
    confirmation.give();
  }

  /** Joins the group and, whenever the membership breaks, joins anew: only a refusal or the close ends it. */
  async function membership(): Promise<void> {
    while (!closing.signal.aborted) {
      const fault = await memberUntilBroken();
      revokeAll();
      if (fault === undefined) return;
      const error = brokerFault(fault, `reading topic ${config.topic} as group ${config.group}`, config.brokers);
      if (isRefusal(fault)) throw error;
      options.onTrouble?.(error);
      const waitMs = backoff.next();
      options.log?.warn({ error: describeError(error), retry_in_ms: waitMs }, 'the brokers are lost; trying again');
      await clock.sleep(waitMs, closing.signal);
    }
  }

  /** One membership from joining to its end; gives the fault that ended it, undefined after a close. */
  async function memberUntilBroken(): Promise<unknown> {
    const watch = watchLiveness(clock, config.session_timeout_ms, (forMs) =>
      options.onTrouble?.(forMs === undefined ? undefined : silence(config, forMs)),
    );
    liveness = watch;
    const broken = new Promise<unknown>((resolve) => {
      breakMembership = resolve;
    });
    const member = join({
      assigned(assignment, sharedOut) {
        watch.heard();
        options.onJoined?.(assignment.generation);
        options.onTrouble?.(undefined);
        void take(assignment, member, sharedOut);
      },
      confirmed() {
        watch.heard();
        confirmation.give();
      },
      expelled: revokeAll,
    });
    const stop = () => void member.leave();
    closing.signal.addEventListener('abort', stop, { once: true });
    try {
      const fault = await Promise.race([member.ended, broken]);
      await member.leave();
      return fault;
    } finally {
      closing.signal.removeEventListener('abort', stop);
      watch.stop();
    }
  }

  /**
   * Revokes at once what is lost; what is gained is yielded when the partitions are counted, and it is known whether they have become more since the
   * job began: a growth may have brought it about.
   */
  async function take(assignment: Assignment, member: GroupMember, sharedOut: number): Promise<void> {
    for (const partition of assignmentChange(assigned, assignment).lost) revoke(partition);
    assigned = assignment;
    confirmation.give();
    const counted = withAdmin((connected) => countPartitions(connected, [config.topic], config.brokers, 'INPUT'));
    const count = await counted.then(
      (counts) => counts.get(config.topic)!,
      // It stays so until the next assignment: what others were given meanwhile must not be missed.
      () => Math.max(partitions, sharedOut),
    );
    if (assigned !== assignment) return;
    partitions = Math.max(count, ...assignment.partitions.map((partition) => partition + 1));
    growth.counted(partitions);
    await learnGrowth();
    if (assigned !== assignment) return;
    for (const partition of assignment.partitions) if (!owned.has(partition)) gain(partition, member);
  }

  /** Tries until there was an answer once: who does not know that keys have moved takes what is missing of them for nothing. */
  async function learnGrowth(): Promise<void> {
    const { group, topic } = config;
    const waits = createBackoff(firstWaitMs, longestWaitMs);
    for (;;) {
      try {
        const positions = await withAdmin((connected) => carriedOutPositions(connected, clock, group, topic));
        const isNews = growth.learn([...positions.values()].map(({ mark }) => mark));
        if (isNews) options.log?.warn({ stream: topic, partitions }, grownSentence(group));
        hasLearnt = true;
        options.onTrouble?.(undefined);
        return;
      } catch (error) {
        if (hasLearnt || closing.signal.aborted) return;
        const waitMs = waits.next();
        const fault = { error: describeError(error), retry_in_ms: waitMs };
        options.onTrouble?.(brokerFault(error, `reading the positions of group ${group}`, config.brokers));
        options.log?.warn(fault, `the positions of group ${group} cannot be read; nothing begins before`);
        await clock.sleep(waitMs, closing.signal);
      }
    }
  }

  function gain(partition: number, member: GroupMember): void {
    const ownership = createOwnedPartition({
      stream: config.topic,
      partition,
      partitions: () => partitions,
      format: options.format,
      isAdded: isAdded(partition),
      growth,
      maxEvents: options.maxEvents,
      limits: { records: config.prefetch_records, bytes: config.prefetch_bytes },
      brokers: config.brokers,
      clock,
      fetcher,
      confirmed: confirmation.next,
      isDoubtful: () => confirmation.ageMs() > config.session_timeout_ms,
      commit: member.commit,
      range: () => rangeOf(partition),
      checkpointed: async () =>
        withAdmin((connected) => committedOffset(connected, options.clock, config.group, config.topic, partition)),
      silenceMs: config.session_timeout_ms,
      warn: (sentence) => options.log?.warn({ stream: config.topic, partition }, sentence),
    });
    owned.set(partition, ownership);
    gained.push(ownership.ownership);
  }

  async function rangeOf(partition: number): Promise<LogRange> {
    if (closing.signal.aborted) throw closed();
    return ranges.of(partition).catch((error: unknown) => {
      if (protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION')
        throw missingTopic(config.topic, config.brokers, 'INPUT');
      throw brokerFault(error, `asking for offsets of topic ${config.topic}`, config.brokers);
    });
  }

  const closed = () => new WeirError('FENCED', `the source of topic ${config.topic} is closed`);

  async function withAdmin<T>(ask: (admin: Admin) => Promise<T>): Promise<T> {
    if (closing.signal.aborted) throw closed();
    admin ??= connectAdmin(client, config, [config.topic], 'INPUT', clock, closing.signal).then((found) => found.admin);
    const asked = admin;
    try {
      return await ask(await asked);
    } catch (error) {
      if (admin === asked) admin = undefined;
      void disconnect(asked);
      throw brokerFault(error, `asking for offsets of topic ${config.topic}`, config.brokers);
    }
  }

  async function begin(signal: AbortSignal): Promise<void> {
    const demand = (of: Admin) => demandUncompacted(of, config.topic);
    const connected = await connectAdmin(client, config, [config.topic], 'INPUT', clock, signal, demand);
    admin = Promise.resolve(connected.admin);
    partitions = connected.partitions.get(config.topic)!;
    growth.counted(partitions);
    if (config.start === 'latest') isAdded = await newcomers(partitions);
    running ??= membership().then(
      () => gained.end(),
      (error: unknown) => gained.fail(error),
    );
  }

  /**
   * Tells which partitions the topic got after the group had begun. Asked before the group is joined: afterwards the positions of others that
   * begin at the same time would be among the answers.
   */
  async function newcomers(count: number): Promise<(partition: number) => boolean> {
    const { group, topic } = config;
    const positions = await withAdmin((connected) => carriedOutOffsets(connected, clock, group, topic));
    return (partition) => partition >= count || (positions.size > 0 && !positions.has(partition));
  }

  return {
    async *ownerships(signal) {
      await begin(signal);
      yield* gained.until(signal);
    },
    async close() {
      closing.abort();
      revokeAll();
      gained.end();
      await running;
      await fetcher.close();
      await ranges.close();
      if (admin !== undefined) await disconnect(admin);
      admin = undefined;
    },
  };
}

function silence({ brokers, group, topic }: KafkaSourceConfig, forMs: number): WeirError {
  const said = `Kafka at ${brokers.join(',')} has not answered for more than ${Math.floor(forMs / 1000)} s`;
  return new WeirError('BROKER', `${said} (topic ${topic}, group ${group}): it hangs or the network does; waiting`);
}

function grownSentence(group: string): string {
  const said = `the positions of group ${group} do not know of all partitions of the topic: it counts as grown just now`;
  return `${said}, and features of what keys it as shared between partitions, until their windows have passed`;
}

async function disconnect(admin: Promise<Admin>): Promise<void> {
  await admin.then((connected) => connected.disconnect()).catch(() => undefined);
}

/** Lets any number wait for the next word of the group, and says how long ago the last one was. */
function createConfirmation(clock: Clock) {
  let give = () => {};
  let next = Promise.resolve();
  let givenAt = clock.monotonic();
  const renew = () => {
    next = new Promise((resolve) => {
      give = resolve;
    });
  };
  renew();
  return {
    next: () => next,
    ageMs: () => clock.monotonic() - givenAt,
    give() {
      givenAt = clock.monotonic();
      give();
      renew();
    },
  };
}
