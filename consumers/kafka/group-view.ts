import kafkajs, { type Admin } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { connectAdmin, createClient, type KafkaLog } from './client.ts';
import { carriedOutOffsets, whenLoaded } from './committed-offset.ts';
import type { KafkaSourceConfig } from './config.ts';
import { brokerFault } from './faults.ts';
import { type MemberData, readMember } from './member-data.ts';

/** A consumer group and its topic, looked at by an operator who is no member. */
export interface GroupView {
  /** How a group is now, and who is in it. */
  group(name: string): Promise<SeenGroup>;
  /** Every partition of the topic, in order. */
  offsets(): Promise<PartitionOffsets[]>;
  /** By partition, the offset of the first record with this broker timestamp (milliseconds since the epoch) or a later one; else the log's end. */
  offsetsAt(time: number): Promise<ReadonlyMap<number, number>>;
  close(): Promise<void>;
}

export interface SeenGroup {
  /** As Kafka calls it: Stable, PreparingRebalance, CompletingRebalance, Empty; Dead for a group that there is not. */
  readonly state: string;
  /** How partitions are shared out; empty where nobody is. */
  readonly protocol: string;
  /** The group is in this generation or a later one, as far as its members tell; undefined while it rebalances. */
  readonly generationAtLeast: number | undefined;
  readonly members: readonly SeenMember[];
}

export interface SeenMember {
  /** The coordinator's name of it, new with each membership. */
  readonly id: string;
  /** What the process calls itself; undefined of one that does not say, and of all while the group rebalances. */
  readonly name: string | undefined;
  readonly clientId: string;
  readonly host: string;
  /** Partitions of the topic that the group has given it. */
  readonly partitions: readonly number[];
}

export interface PartitionOffsets {
  readonly partition: number;
  /** As far as transactions are carried out by now; undefined where the group has no position. */
  readonly committed: number | undefined;
  /** First offset still in the log, and the offset behind its last record that is not in an open transaction. */
  readonly begin: number;
  readonly end: number;
}

/** @throws WeirError INPUT when the topic does not exist, BROKER when the cluster does not answer or refuses; so do the methods. */
export async function viewGroup(
  config: KafkaSourceConfig,
  { clock, log }: { readonly clock: Clock; readonly log?: KafkaLog },
): Promise<GroupView> {
  const { topic, group, brokers } = config;
  const { admin } = await connectAdmin(createClient(config, log), config, [topic], 'INPUT', clock);

  async function ask<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw brokerFault(error, doing, brokers);
    }
  }

  return {
    group: (name) => ask(`asking who is in group ${name}`, () => describeGroup(admin, clock, name, topic)),
    offsets: () =>
      ask(`asking for the offsets of group ${group} in topic ${topic}`, async () => {
        const committed = await carriedOutOffsets(admin, clock, group, topic);
        const found = await admin.fetchTopicOffsets(topic);
        return found
          .map(({ partition, low, high }) => ({
            partition,
            committed: committed.get(partition),
            begin: Number(low),
            end: Number(high),
          }))
          .sort((a, b) => a.partition - b.partition);
      }),
    offsetsAt: (time) =>
      ask(`asking for the offsets of topic ${topic} at a time`, async () => {
        const found = await admin.fetchTopicOffsetsByTimestamp(topic, time);
        return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]));
      }),
    close: () => admin.disconnect().catch(() => undefined),
  };
}

async function describeGroup(admin: Admin, clock: Clock, group: string, topic: string): Promise<SeenGroup> {
  const { groups } = await whenLoaded(clock, () => admin.describeGroups([group]));
  const [{ state, protocol, members }] = groups;
  const joined = members.map(({ memberMetadata }) => saidAtJoining(memberMetadata));
  const known = joined.flatMap((data) => (data === undefined ? [] : [data.generation]));
  return {
    state,
    protocol,
    // A member says at joining which generation it was in before; Kafka's first is 1.
    generationAtLeast: known.length === 0 ? undefined : Math.max(1, ...known.map((before) => before + 1)),
    members: members.map(({ memberId, clientId, clientHost, memberAssignment }, index) => ({
      id: memberId,
      name: joined[index]?.name,
      clientId,
      host: clientHost.replace(/^\//, ''),
      partitions: partitionsOf(memberAssignment, topic),
    })),
  };
}

function saidAtJoining(metadata: Buffer): MemberData | undefined {
  const decoded = metadata.length === 0 ? null : kafkajs.AssignerProtocol.MemberMetadata.decode(metadata);
  return decoded === null ? undefined : readMember(decoded.userData);
}

/** None while the group rebalances: the assignment is empty then. */
function partitionsOf(assignment: Buffer, topic: string): number[] {
  const decoded = assignment.length === 0 ? null : kafkajs.AssignerProtocol.MemberAssignment.decode(assignment);
  return [...(decoded?.assignment[topic] ?? [])].sort((a, b) => a - b);
}
