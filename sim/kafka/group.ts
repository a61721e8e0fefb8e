import type { Claimant } from '../../consumers/kafka/sticky-assignment.ts';
import type { VirtualTime } from '../clock.ts';
import { ProtocolError } from './protocol-error.ts';

/** A member's part in one generation of the group. */
export interface Membership {
  readonly memberId: string;
  readonly generation: number;
  readonly partitions: readonly number[];
}

/** A consumer group in the classic protocol: everybody joins anew at each rebalance. */
export interface Group {
  /**
   * Resolves when all members have joined, or those that did not are thrown out.
   * @param memberId as given by the last join; undefined for a newcomer. @throws ProtocolError UNKNOWN_MEMBER_ID.
   */
  join(memberId: string | undefined, processName: string): Promise<Membership>;
  /** @throws ProtocolError when the member is unknown, of another generation, or is to join anew. */
  heartbeat(memberId: string, generation: number): void;
  /** @throws ProtocolError when the member may not commit. */
  assertMember(memberId: string, generation: number): void;
  leave(memberId: string): void;
  rebalance(): void;
  /** Partitions by member id, as they were given out last. */
  owners(): ReadonlyMap<string, readonly number[]>;
  readonly size: number;
}

export interface GroupOptions {
  readonly time: VirtualTime;
  readonly sessionMs: number;
  readonly rebalanceMs: number;
  /** Who gets what, by member id. */
  readonly assign: (members: readonly Claimant[]) => ReadonlyMap<string, readonly number[]>;
  readonly onGeneration: (generation: number, owners: ReadonlyMap<string, readonly number[]>) => void;
}

interface Member {
  readonly id: string;
  partitions: readonly number[];
  generation: number;
  joining: { resolve(membership: Membership): void; reject(error: Error): void } | undefined;
  cancelSession: () => void;
}

export function createGroup({ time, sessionMs, rebalanceMs, assign, onGeneration }: GroupOptions): Group {
  const members = new Map<string, Member>();
  let generation = 0;
  let born = 0;
  let isStable = true;
  let cancelDeadline = () => {};

  function alive(member: Member): void {
    member.cancelSession();
    member.cancelSession = time.after(sessionMs, () => {
      // Who waits for the others to join is alive.
      if (member.joining) alive(member);
      else remove(member);
    });
  }

  function remove(member: Member): void {
    member.cancelSession();
    member.joining?.reject(new ProtocolError('UNKNOWN_MEMBER_ID'));
    if (!members.delete(member.id)) return;
    if (isStable) prepare();
    completeIfAll();
  }

  function prepare(): void {
    if (!isStable) return;
    isStable = false;
    cancelDeadline = time.after(rebalanceMs, complete);
  }

  function completeIfAll(): void {
    if (!isStable && [...members.values()].every(({ joining }) => joining)) complete();
  }

  function complete(): void {
    cancelDeadline();
    for (const member of [...members.values()]) {
      if (member.joining) continue;
      member.cancelSession();
      members.delete(member.id);
    }
    generation++;
    isStable = true;
    const all = [...members.values()];
    const shares = assign(all.map((member) => ({ ...member, owned: member.partitions })));
    for (const member of all) Object.assign(member, { partitions: shares.get(member.id)!, generation });
    onGeneration(generation, owners());
    for (const member of all) {
      const { id, partitions, joining } = member;
      member.joining = undefined;
      alive(member);
      joining!.resolve({ memberId: id, generation, partitions });
    }
  }

  function owners(): ReadonlyMap<string, readonly number[]> {
    return new Map([...members.values()].map(({ id, partitions }) => [id, partitions]));
  }

  function assertMember(memberId: string, of: number): Member {
    const member = members.get(memberId);
    if (member === undefined) throw new ProtocolError('UNKNOWN_MEMBER_ID');
    if (of !== generation) throw new ProtocolError('ILLEGAL_GENERATION');
    return member;
  }

  return {
    async join(memberId, processName) {
      let member = memberId === undefined ? undefined : members.get(memberId);
      if (memberId !== undefined && member === undefined) throw new ProtocolError('UNKNOWN_MEMBER_ID');
      if (member === undefined) {
        const id = `${processName}-${born++}`;
        member = { id, partitions: [], generation: -1, joining: undefined, cancelSession: () => {} };
        members.set(id, member);
      }
      const joined = new Promise<Membership>((resolve, reject) => {
        member.joining?.reject(new ProtocolError('UNKNOWN_MEMBER_ID'));
        member.joining = { resolve, reject };
      });
      alive(member);
      prepare();
      completeIfAll();
      return joined;
    },
    heartbeat(memberId, of) {
      const member = assertMember(memberId, of);
      alive(member);
      if (!isStable) throw new ProtocolError('REBALANCE_IN_PROGRESS');
    },
    assertMember: (memberId, of) => void assertMember(memberId, of),
    leave(memberId) {
      const member = members.get(memberId);
      if (member) remove(member);
    },
    rebalance: prepare,
    owners,
    get size() {
      return members.size;
    },
  };
}
