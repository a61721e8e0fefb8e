import type { FleetPartition, KafkaFleet } from '../consumers/fleet.ts';
import type { SeenMember } from '../consumers/kafka/group-view.ts';
import { describeError } from '../runtime/errors.ts';
import { frontierAsJson, frontierCells, frontierHeads, type Remark, remarksAsText, storeAway } from './fleet-remark.ts';
import { standingRemark } from './standing-remark.ts';
import { table } from './table.ts';

/** How `weir fleet status` shows a fleet that reads Kafka. */
export function kafkaFleetAsText(view: KafkaFleet, now: number): string {
  const { topic, groupName, group, partitions } = view;
  const generation = group.generationAtLeast === undefined ? '' : `, generation ${group.generationAtLeast} or later`;
  const protocol = group.protocol === '' ? '' : `, shared out by ${group.protocol}`;
  const rows = partitions.map((of) => [
    ...[of.partition, of.owner === undefined ? 'nobody' : nameOf(of.owner), of.owner?.host ?? ''],
    ...[of.committed ?? '', of.begin, of.end, of.lag ?? '', of.fence ?? ''],
    ...frontierCells(of.frontier, now),
  ]);
  const members = group.members.map((member) => [
    ...[nameOf(member), member.host, member.partitions.length, member.partitions.join(', '), member.id],
  ]);
  return [
    `Group ${groupName} in topic ${topic}: ${group.state}${generation}${protocol}; ${lagText(view)}\n\n`,
    table(
      ['partition', 'owner', 'host', 'committed', 'log begins', 'log ends', 'lag', 'fence', ...frontierHeads],
      rows,
    ),
    ...(members.length === 0 ? [] : ['\n', table(['member', 'host', 'has', 'partitions', 'id'], members)]),
    remarksAsText(remarksOn(view)),
  ].join('');
}

/** The same for machines; `docs/operations.md` has the fields. */
export function kafkaFleetAsJson(view: KafkaFleet): object {
  const { topic, groupName, group, partitions, storeFault } = view;
  return {
    source: 'kafka',
    topic,
    group: groupName,
    state: group.state,
    protocol: group.protocol,
    generation_at_least: group.generationAtLeast ?? null,
    members: group.members.map(({ id, name, clientId, host, partitions: of }) => ({
      id,
      name: name ?? null,
      client_id: clientId,
      host,
      partitions: of,
    })),
    partitions: partitions.map((of) => ({
      partition: of.partition,
      owner: of.owner === undefined ? null : { id: of.owner.id, name: of.owner.name ?? null, host: of.owner.host },
      committed: of.committed ?? null,
      begin: of.begin,
      end: of.end,
      lag: of.lag ?? null,
      fence: of.fence ?? null,
      frontier: frontierAsJson(of.frontier),
      trouble: of.trouble ?? null,
    })),
    store_fault: storeFault === undefined ? null : describeError(storeFault),
    remarks: remarksOn(view),
  };
}

function nameOf({ name, clientId }: SeenMember): string {
  return name ?? clientId;
}

function lagText({ partitions, hasPositions }: KafkaFleet): string {
  if (!hasPositions) return "the file sink's checkpoint has the positions";
  return `${partitions.reduce((sum, { lag }) => sum + lag!, 0).toLocaleString('en-US')} records behind`;
}

function remarksOn(view: KafkaFleet): Remark[] {
  const { group, groupName, partitions, storeFault } = view;
  const isShared = group.state === 'Stable';
  return [
    ...groupRemarks(view),
    ...partitions.filter(({ owner }) => isShared && owner === undefined).map(unowned),
    ...group.members.filter((member) => isShared && member.partitions.length === 0).map(idle(groupName)),
    ...partitions.flatMap((of) => {
      const message = standingRemark(of);
      return message === undefined ? [] : [{ what: `state-${of.trouble}`, of: of.partition, message }];
    }),
    ...(storeFault === undefined ? [] : [storeAway(describeError(storeFault))]),
  ];
}

function groupRemarks({ group: { state, members }, groupName }: KafkaFleet): Remark[] {
  if (members.length === 0) {
    const message = `Nobody is in group ${groupName}: no partition is read. Start processes; one that was killed is in the group until its session times out.`;
    return [{ what: 'no-members', of: null, message }];
  }
  if (state === 'Stable') return [];
  const message = `The group is sharing its partitions out (${state}): owners are not known meanwhile. Ask again; if it lasts, a member does not answer.`;
  return [{ what: 'rebalancing', of: null, message }];
}

function unowned({ partition }: FleetPartition): Remark {
  const message = `Partition ${partition} is read by nobody: it is new and no member has noticed it yet (topic_refresh_ms), or the members read another topic.`;
  return { what: 'unowned', of: partition, message };
}

const idle =
  (group: string) =>
  (member: SeenMember): Remark => ({
    what: 'idle-member',
    of: nameOf(member),
    message: `${nameOf(member)} at ${member.host} has no partition: group ${group} has more members than partitions. It stands by.`,
  });
