import kafkajs, { type Assigner, type Cluster } from 'kafkajs';
import type { Assignment } from './assignment.ts';
import { partitionsOf } from './cluster.ts';
import { assignMembers, type ByName, describeMember, readMember, writeNames } from './member-data.ts';

const { MemberMetadata, MemberAssignment } = kafkajs.AssignerProtocol;

const version = 0;

export interface StickyAssignerOptions {
  readonly cluster: Cluster;
  readonly topic: string;
  /** What the process calls itself. */
  readonly name: string;
  /** What it had last, and what it was told of all. */
  last(): { readonly assignment: Assignment | undefined; readonly names: ByName };
}

/** Partitions stay where they are; see sticky-assignment.ts. Members that read other topics get nothing of this one. */
export function stickyAssigner({ cluster, topic, name, last }: StickyAssignerOptions): Assigner {
  return {
    name: 'weir-sticky',
    version,
    protocol({ topics }) {
      const { assignment, names } = last();
      const userData = describeMember(name, assignment, partitionsOf(cluster, topic).length, names);
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
