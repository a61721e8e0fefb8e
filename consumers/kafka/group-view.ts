import kafkajs, { type Admin } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { connectAdmin, createClient, type KafkaLog } from './client.ts';
import { carriedOutOffsets, whenLoaded } from './committed-offset.ts';
import type { KafkaSourceConfig } from './config.ts';
import { brokerFault } from './faults.ts';

/** A consumer group and its topic, looked at by an operator who is no member. */
export interface GroupView {
  /** Who is in the group now. */
  members(group: string): Promise<SeenMember[]>;
  /** Every partition of the topic, in order. */
  offsets(): Promise<PartitionOffsets[]>;
  /** By partition, the offset of the first record with this broker timestamp (milliseconds since the epoch) or a later one; else the log's end. */
  offsetsAt(time: number): Promise<ReadonlyMap<number, number>>;
  close(): Promise<void>;
}

export interface SeenMember {
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
    members: (of) => ask(`asking who is in group ${of}`, () => membersOf(admin, clock, of, topic)),
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

async function membersOf(admin: Admin, clock: Clock, group: string, topic: string): Promise<SeenMember[]> {
  const { groups } = await whenLoaded(clock, () => admin.describeGroups([group]));
  return groups[0].members.map(({ clientId, clientHost, memberAssignment }) => {
    // Empty while the group rebalances.
    const assigned =
      memberAssignment.length === 0 ? null : kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment);
    const partitions = [...(assigned?.assignment[topic] ?? [])].sort((a, b) => a - b);
    return { clientId, host: clientHost.replace(/^\//, ''), partitions };
  });
}
