import { z } from 'zod';
import { assignSticky, type Claimant } from './sticky-assignment.ts';

/** What travels with the protocol of consumer groups beside topics and partitions. */

/** Partitions that processes have, or had when they were last in the group, by name; those that left last come first. */
export type ByName = readonly (readonly [name: string, partitions: readonly number[]])[];

const partitions = z.array(z.int().min(0)).readonly();
const byName = z.array(z.tuple([z.string(), partitions]).readonly()).readonly();

const memberData = z.object({
  name: z.string(),
  /** That it was told in last: -1 in none. */
  generation: z.int(),
  /** What it still has of that. */
  owned: partitions,
  /** How many partitions the topic has as far as the member knows: one that has noticed new ones says something new by joining. */
  count: z.int(),
  names: byName,
});

/** How a member joins. */
export type MemberData = z.output<typeof memberData>;

export function describeMember(data: MemberData): Buffer {
  return Buffer.from(JSON.stringify(data));
}

/** Undefined for what another assigner has written. */
export function readMember(bytes: Buffer): MemberData | undefined {
  return parsed(memberData, bytes);
}

/** What the leader tells all members with their partitions: who has what, for when one of them leaves and comes back. */
export function writeNames(names: ByName): Buffer {
  return Buffer.from(JSON.stringify(names));
}

export function readNames(bytes: Buffer): ByName {
  return parsed(byName, bytes) ?? [];
}

function parsed<T>(schema: z.ZodType<T>, bytes: Buffer): T | undefined {
  try {
    return schema.safeParse(JSON.parse(bytes.toString())).data;
  } catch {
    return undefined;
  }
}

export interface JoinedMember {
  readonly id: string;
  /** Undefined for a member that says nothing that is understood. */
  readonly data: MemberData | undefined;
}

/** Most processes that are remembered after they have left. */
const mostAbsent = 100;

/** The leader's part: what each member has from now on, by id, and what is to be remembered of names. */
export function assignMembers(
  partitions: readonly number[],
  members: readonly JoinedMember[],
): { readonly assigned: ReadonlyMap<string, readonly number[]>; readonly names: ByName } {
  const newest = members.reduce<MemberData | undefined>(
    (best, { data }) => (data !== undefined && data.generation > (best?.generation ?? -1) ? data : best),
    undefined,
  );
  const former = newest?.names ?? [];
  const claimants = members.map(
    ({ id, data }): Claimant => ({
      id,
      name: data?.name,
      owned: data?.owned ?? [],
      generation: data?.generation ?? -1,
    }),
  );
  const assigned = assignSticky(partitions, claimants, new Map(former));
  const present = new Map(
    members.flatMap(({ id, data }) => (data === undefined ? [] : [[data.name, assigned.get(id)!]])),
  );
  const absent = former.filter(([name]) => !present.has(name));
  return { assigned, names: [...[...present].sort(byText), ...absent.slice(0, mostAbsent)] };
}

const byText = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : Number(a > b));
