import kafkajs, { type Broker, type Kafka } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import type { Assignment } from './assignment.ts';
import { clusterOf, partitionsOf } from './cluster.ts';
import type { KafkaSourceConfig } from './config.ts';
import { isPassing, isRebalancing, isUnreachable, protocolType } from './faults.ts';
import type { Coordinator, JoinedGroup } from './internals.ts';
import { type ByName, readNames } from './member-data.ts';
import { stickyAssigner } from './sticky-assigner.ts';

export interface GroupEvents {
  /** The partitions of the process from now on. @param sharedOut the topic has so many at least, by what members have and had. */
  assigned(assignment: Assignment, sharedOut: number): void;
  /** The coordinator says that nothing has changed. */
  confirmed(): void;
  /** The group knows the member no more: its partitions may be somebody else's by now. */
  expelled(): void;
}

/** One membership of the consumer group. It goes on by itself, whatever its partitions wait for. */
export interface GroupMember {
  /** Resolves with the fault that broke the membership, or undefined after `leave`. */
  readonly ended: Promise<unknown>;
  /** Commits the group's offset of a partition, and what is to be kept with it. */
  commit(partition: number, offset: number, metadata: string): Promise<void>;
  leave(): Promise<void>;
}

/** A coordinator that has moved or is away is looked for so often. */
const lookMs = 100;
/** How long the others may take to join again before the group goes on without them. */
const rebalanceMs = 60_000;

/** A process as its group knows it, from one of its memberships to the next. */
export interface GroupIdentity {
  /** What the process calls itself, also after a restart. */
  readonly name: string;
  /** Empty: the group does not wait for it. While it does, it would wait for the session timeout before another member gets anything. */
  memberId: string;
  /** Who had which partitions, and in which generation. */
  names: ByName;
  generation: number;
}

export function newIdentity(name: string): GroupIdentity {
  return { name, memberId: '', names: [], generation: -1 };
}

/**
 * Joins the group in the background, by the client's requests but not by its consumer: that one ties heartbeats to fetching and stops
 * fetching while the group rebalances.
 * @param identity changed as the group says.
 */
export function joinGroup(
  client: Kafka,
  config: KafkaSourceConfig,
  identity: GroupIdentity,
  clock: Clock,
  events: GroupEvents,
): GroupMember {
  const { topic, group: groupId, session_timeout_ms: sessionTimeout } = config;
  const cluster = clusterOf(client);
  // A connection answers one request after the other, and that of joining waits for the whole group.
  const committing = clusterOf(client);
  const leaving = new AbortController();
  /** Left without an answer to what is under way: another membership of the process may have begun. */
  let isGivenUp = false;
  let last: Assignment | undefined;
  let coordinator: Coordinator | undefined;
  let committer: Promise<Broker> | undefined;
  let heardAt = clock.monotonic();

  const assigners = [
    stickyAssigner({ cluster, topic, member: sayMember }),
    // Spoken by versions before, so that both can be in the group while one replaces the other.
    kafkajs.PartitionAssigners.roundRobin({ cluster, groupId, logger: undefined as never }),
  ];

  /** Asks the coordinator; one that has moved or cannot be reached is looked for as long as the group may still count on this member. */
  async function ask<T>(request: (coordinator: Coordinator) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        coordinator ??= (await cluster.findGroupCoordinator({ groupId })) as Coordinator;
        const answer = await request(coordinator);
        heardAt = clock.monotonic();
        return answer;
      } catch (error) {
        if (isRebalancing(error)) heardAt = clock.monotonic();
        coordinator = undefined;
        if (!isElsewhere(error) || clock.monotonic() - heardAt > sessionTimeout) throw error;
        if (!(await clock.sleep(lookMs, leaving.signal))) throw error;
      }
    }
  }

  function sayMember() {
    const { name, generation, names } = identity;
    return { name, generation, owned: last?.partitions ?? [], names };
  }

  function assign({ groupProtocol, members }: JoinedGroup) {
    const assigner = assigners.find((candidate) => candidate.name === groupProtocol)!;
    return cluster.refreshMetadata().then(() => assigner.assign({ members, topics: [topic] }));
  }

  /** Joins and waits for the assignment, again while the group rebalances meanwhile. */
  async function join(): Promise<Assignment | undefined> {
    while (!leaving.signal.aborted) {
      try {
        const groupProtocols = assigners.map((assigner) => assigner.protocol({ topics: [topic] }));
        const joined = await ask((at) =>
          at.joinGroup({
            groupId,
            sessionTimeout,
            rebalanceTimeout: Math.max(sessionTimeout, rebalanceMs),
            memberId: identity.memberId,
            groupProtocols,
          }),
        );
        if (isGivenUp) return undefined;
        const { memberId, generationId: generation } = joined;
        identity.memberId = memberId;
        if (leaving.signal.aborted) return undefined;
        const groupAssignment = joined.leaderId === memberId ? await assign(joined) : [];
        const synced = await ask((at) =>
          at.syncGroup({ groupId, generationId: generation, memberId, groupAssignment }),
        );
        const decoded = kafkajs.AssignerProtocol.MemberAssignment.decode(synced.memberAssignment);
        if (isGivenUp) return undefined;
        if (decoded !== null && decoded.userData.length > 0) identity.names = readNames(decoded.userData);
        identity.generation = generation;
        return { memberId, generation, partitions: decoded?.assignment[topic] ?? [] };
      } catch (error) {
        noteIfExpelled(error);
        if (!isRebalancing(error)) throw error;
      }
    }
    return undefined;
  }

  function sharedOut(): number {
    return Math.max(0, ...identity.names.flatMap(([, partitions]) => partitions.map((partition) => partition + 1)));
  }

  /** Tells the group that the process lives, until there is something to join for. */
  async function stay({ generation, memberId }: Assignment): Promise<void> {
    const known = Math.max(partitionsOf(cluster, topic).length, sharedOut());
    let lookedAt = clock.monotonic();
    while (await clock.sleep(config.heartbeat_interval_ms, leaving.signal)) {
      try {
        await ask((at) => at.heartbeat({ groupId, groupGenerationId: generation, memberId }));
      } catch (error) {
        noteIfExpelled(error);
        if (isRebalancing(error)) return;
        throw error;
      }
      if (isGivenUp) return;
      events.confirmed();
      if (clock.monotonic() - lookedAt < config.topic_refresh_ms) continue;
      lookedAt = clock.monotonic();
      if ((await countAnew()) > known) return;
    }
  }

  async function countAnew(): Promise<number> {
    await cluster.refreshMetadata().catch((error: unknown) => {
      // Another time then; whether the group can be reached is the heartbeats' business.
      if (!isPassing(error)) throw error;
    });
    return partitionsOf(cluster, topic).length;
  }

  function noteIfExpelled(error: unknown): void {
    if (isGivenUp || !expelling.has(protocolType(error) ?? '')) return;
    identity.memberId = '';
    last = undefined;
    events.expelled();
  }

  async function run(): Promise<void> {
    await cluster.connect();
    await cluster.addTargetTopic(topic);
    while (!leaving.signal.aborted) {
      const assignment = await join();
      if (assignment === undefined) return;
      last = assignment;
      events.assigned(assignment, sharedOut());
      await stay(assignment);
    }
  }

  /** The others get the partitions at once instead of after the session timeout. */
  async function sayGoodbye(): Promise<void> {
    const { memberId } = identity;
    if (memberId !== '' && coordinator !== undefined && !isGivenUp) {
      await coordinator.leaveGroup({ groupId, memberId }).then(
        () => {
          if (identity.memberId === memberId) identity.memberId = '';
        },
        () => undefined,
      );
    }
    await Promise.all([cluster, committing].map((connection) => connection.disconnect().catch(() => undefined)));
  }

  const ended = run()
    .then(
      () => undefined,
      (error: unknown) => (leaving.signal.aborted ? undefined : error),
    )
    .finally(sayGoodbye);

  return {
    ended,
    async commit(partition, offset, metadata) {
      const topics = [{ topic, partitions: [{ partition, offset: String(offset), metadata }] }];
      committer ??= committing.connect().then(() => committing.findGroupCoordinator({ groupId }));
      try {
        const at = await committer;
        const { generation, memberId } = last ?? noMember;
        await at.offsetCommit({ groupId, groupGenerationId: generation, memberId, topics });
      } catch (error) {
        committer = undefined;
        throw error;
      }
    },
    async leave() {
      leaving.abort();
      // A join under way ends when the others have joined; who cannot be reached is not waited for.
      const hasEnded = new AbortController();
      void ended.then(() => hasEnded.abort());
      isGivenUp = await clock.sleep(sessionTimeout, hasEnded.signal);
    },
  };
}

const noMember = { memberId: '', generation: -1 };

/** The group goes on without this member, or has begun anew. */
const expelling = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION']);

/** The coordinator is somewhere else, or not ready. */
const elsewhere = new Set(['NOT_COORDINATOR_FOR_GROUP', 'GROUP_COORDINATOR_NOT_AVAILABLE', 'GROUP_LOAD_IN_PROGRESS']);

function isElsewhere(error: unknown): boolean {
  return elsewhere.has(protocolType(error) ?? '') || isUnreachable(error);
}
