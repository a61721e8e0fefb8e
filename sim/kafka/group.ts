import { requestMs } from '../../consumers/kafka/client.ts';
import type { VirtualTime } from '../clock.ts';
import { Lost } from '../network.ts';
import { ProtocolError } from './protocol-error.ts';

/** What a member says of itself, in each protocol of sharing partitions out that it speaks. */
export interface MemberProtocol {
  readonly name: string;
  readonly metadata: Buffer;
}

/** The answer to a join. */
export interface Joined {
  readonly generationId: number;
  readonly groupProtocol: string;
  readonly leaderId: string;
  readonly memberId: string;
  /** All for the leader, none for others. */
  readonly members: { memberId: string; memberMetadata: Buffer }[];
}

/** A consumer group in the classic protocol: everybody joins anew at each rebalance, the leader shares the partitions out. */
export interface Group {
  /**
   * Resolves when all members have joined, or those that did not are left out.
   * @param memberId as given by an earlier join; empty for a newcomer. @throws ProtocolError UNKNOWN_MEMBER_ID.
   */
  join(memberId: string, protocols: readonly MemberProtocol[]): Promise<Joined>;
  /** Resolves when the leader has said who gets what. */
  sync(memberId: string, generation: number, shares: readonly MemberShare[]): Promise<Buffer>;
  /** @throws ProtocolError when the member is unknown, of another generation, or is to join anew. */
  heartbeat(memberId: string, generation: number): void;
  /** @throws ProtocolError when the member may not commit. */
  assertMember(memberId: string, generation: number): void;
  leave(memberId: string): void;
  rebalance(): void;
  readonly size: number;
}

export interface MemberShare {
  readonly memberId: string;
  readonly memberAssignment: Buffer;
}

export interface GroupOptions {
  readonly time: VirtualTime;
  readonly sessionMs: number;
  readonly rebalanceMs: number;
  /** Which of the protocols that all speak is taken. */
  readonly protocol: string;
  /** Told of each generation's shares. */
  readonly onShared: (generation: number, shares: readonly MemberShare[]) => void;
}

interface Waiting<T> {
  resolve(answer: T): void;
  reject(error: Error): void;
}

interface Member {
  readonly id: string;
  protocols: readonly MemberProtocol[];
  joining: Waiting<Joined> | undefined;
  syncing: Waiting<Buffer> | undefined;
  share: Buffer;
  cancelSession: () => void;
}

export function createGroup({ time, sessionMs, rebalanceMs, protocol, onShared }: GroupOptions): Group {
  const members = new Map<string, Member>();
  let state: 'stable' | 'joining' | 'sharing' = 'stable';
  let generation = 0;
  let leaderId = '';
  let born = 0;
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
    const unknown = new ProtocolError('UNKNOWN_MEMBER_ID');
    member.joining?.reject(unknown);
    member.syncing?.reject(unknown);
    if (!members.delete(member.id)) return;
    prepare();
    completeIfAll();
  }

  /** From now on all are to join anew. */
  function prepare(): void {
    if (state === 'joining') return;
    state = 'joining';
    for (const member of members.values()) {
      member.syncing?.reject(new ProtocolError('REBALANCE_IN_PROGRESS'));
      member.syncing = undefined;
    }
    cancelDeadline = time.after(rebalanceMs, complete);
  }

  function completeIfAll(): void {
    if (state === 'joining' && [...members.values()].every(({ joining }) => joining)) complete();
  }

  function complete(): void {
    cancelDeadline();
    for (const member of [...members.values()]) {
      if (member.joining) continue;
      member.cancelSession();
      members.delete(member.id);
    }
    generation++;
    if (!members.has(leaderId)) leaderId = [...members.keys()][0] ?? '';
    state = members.size === 0 ? 'stable' : 'sharing';
    for (const member of members.values()) {
      alive(member);
      member.joining?.resolve(joinedAs(member));
      member.joining = undefined;
    }
  }

  function joinedAs({ id }: Member): Joined {
    const metadataOf = ({ protocols }: Member) => protocols.find(({ name }) => name === protocol)!.metadata;
    return {
      generationId: generation,
      groupProtocol: protocol,
      leaderId,
      memberId: id,
      members:
        id === leaderId
          ? [...members.values()].map((member) => ({ memberId: member.id, memberMetadata: metadataOf(member) }))
          : [],
    };
  }

  function assertMember(memberId: string, of: number): Member {
    const member = members.get(memberId);
    if (member === undefined) throw new ProtocolError('UNKNOWN_MEMBER_ID');
    if (of !== generation) throw new ProtocolError('ILLEGAL_GENERATION');
    return member;
  }

  function newMember(): Member {
    const member: Member = {
      id: `member-${born++}`,
      protocols: [],
      joining: undefined,
      syncing: undefined,
      share: Buffer.alloc(0),
      cancelSession: () => {},
    };
    members.set(member.id, member);
    return member;
  }

  return {
    async join(memberId, protocols) {
      const known = members.get(memberId);
      if (memberId !== '' && known === undefined) throw new ProtocolError('UNKNOWN_MEMBER_ID');
      const member = known ?? newMember();
      const saysNothingNew =
        known !== undefined &&
        protocols.every(({ metadata }, index) => known.protocols[index]?.metadata.equals(metadata));
      member.protocols = protocols;
      alive(member);
      // Who has lost the answer gets it again; the leader joins to have the partitions shared out anew.
      if (saysNothingNew && (state === 'sharing' || (state === 'stable' && memberId !== leaderId)))
        return joinedAs(member);
      const joined = new Promise<Joined>((resolve, reject) => {
        member.joining?.reject(new ProtocolError('UNKNOWN_MEMBER_ID'));
        member.joining = { resolve, reject };
      });
      prepare();
      completeIfAll();
      return joined;
    },
    async sync(memberId, of, shares) {
      const member = assertMember(memberId, of);
      if (state === 'joining') throw new ProtocolError('REBALANCE_IN_PROGRESS');
      alive(member);
      if (state === 'stable') return member.share;
      const { syncing: earlier } = member;
      // Only the newest is answered, as when one comes late that its sender has repeated by then.
      if (earlier) time.after(requestMs, () => earlier.reject(new Lost('the request has timed out')));
      const synced = new Promise<Buffer>((resolve, reject) => {
        member.syncing = { resolve, reject };
      });
      if (memberId === leaderId) share(shares);
      return synced;
    },
    heartbeat(memberId, of) {
      const member = assertMember(memberId, of);
      alive(member);
      if (state === 'joining') throw new ProtocolError('REBALANCE_IN_PROGRESS');
    },
    assertMember(memberId, of) {
      assertMember(memberId, of);
      if (state === 'sharing') throw new ProtocolError('REBALANCE_IN_PROGRESS');
    },
    leave(memberId) {
      const member = members.get(memberId);
      if (member) remove(member);
    },
    rebalance() {
      if (members.size > 0) prepare();
    },
    get size() {
      return members.size;
    },
  };

  function share(shares: readonly MemberShare[]): void {
    state = 'stable';
    onShared(generation, shares);
    for (const member of members.values()) {
      member.share = shares.find(({ memberId }) => memberId === member.id)?.memberAssignment ?? Buffer.alloc(0);
      member.syncing?.resolve(member.share);
      member.syncing = undefined;
    }
  }
}
