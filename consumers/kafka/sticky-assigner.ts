import kafkajs, { type Assigner, type Cluster } from 'kafkajs';
import { partitionsOf } from './cluster.ts';
import { assignMembers, describeMember, type MemberData, readMember, writeNames } from './member-data.ts';

const { MemberMetadata, MemberAssignment } = kafkajs.AssignerProtocol;

const version = 0;

export interface StickyAssignerOptions {
  readonly cluster: Cluster;
  readonly topic: string;
  /** What the process is to say of itself now, but for what it knows of the topic. */
  member(): Omit<MemberData, 'count'>;
}

/** Partitions stay where they are; see sticky-assignment.ts. Members that read other topics get nothing of this one. */
export function stickyAssigner({ cluster, topic, member }: StickyAssignerOptions): Assigner {
  return {
    name: 'weir-sticky',
    version,
    protocol({ topics }) {
      const userData = describeMember({ ...member(), count: partitionsOf(cluster, topic).length });
      return { name: this.name, metadata: MemberMetadata.encode({ version, topics, userData }) };
    },
    async assign({ members }) {
      const readers = members.flatMap(({ memberId, memberMetadata }) => {
        const metadata = MemberMetadata.decode(memberMetadata);
        if (metadata === null || !metadata.topics.includes(topic)) return [];
        return [{ id: memberId, data: readMember(metadata.userData) }];
      });
      const { assigned, names } = assignMembers(partitionsOf(cluster, topic), readers);
      const userData = writeNames(names);
      return [...assigned].map(([memberId, partitions]) => ({
        memberId,
        memberAssignment: MemberAssignment.encode({ version, assignment: { [topic]: [...partitions] }, userData }),
      }));
    },
  };
}
