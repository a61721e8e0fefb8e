import { inputTopic } from './job.ts';
import type { WorldEvent } from './plan.ts';
import type { Instance, World } from './world.ts';

/** Something happens that no request brings about. */
export function happen(world: World, event: WorldEvent): void {
  if (world.isHealed) return;
  world.trace(`EVENT ${JSON.stringify(event)}`);
  const { broker, servers } = world;
  switch (event.kind) {
    case 'kill':
      latest(world, event.process)?.process.kill();
      break;
    case 'pause': {
      const process = latest(world, event.process)?.process;
      process?.pause();
      world.time.after(event.forMs, () => process?.resume());
      break;
    }
    case 'stop':
      latest(world, event.process)?.stop.abort();
      break;
    case 'rebalance':
      broker.group.rebalance();
      break;
    case 'grow':
      world.hasGrown = true;
      world.hasGrownUnseen ||= broker.input.partitions.every((_, at) => broker.coordinator.committed(at) === undefined);
      broker.grow(broker.input.partitions.length + event.by);
      break;
    case 'retention':
      deleteOld(world, event.partition, event.share);
      break;
    case 'retention-unread':
      deleteUnread(world, event);
      break;
    case 'redis-restart':
      servers[event.server].restart(event.isDataKept);
      break;
    case 'redis-fail-over':
      servers[event.server].failOver(event.lostChanges);
      break;
    case 'redis-away':
      servers[event.server].isAway = true;
      world.time.after(event.forMs, () => {
        servers[event.server].isAway = false;
      });
      break;
    case 'reset-offset':
      resetWhenStopped(world, event.partition, event.share);
      break;
  }
}

/** The process of that place in its present life. */
function latest({ instances }: World, place: number): Instance | undefined {
  return instances.findLast(({ process }) => process.name.startsWith(`w${place}.`));
}

function deleteOld(world: World, partition: number, share: number): void {
  const { broker } = world;
  const log = broker.input.partitions[partition];
  const earliest = Math.floor((broker.coordinator.committed(partition) ?? 0) * share);
  if (earliest <= log.earliest) return;
  log.earliest = earliest;
  world.hasTruncated = true;
}

const unreadLookMs = 20;

/** Waits until so much is not published. */
function deleteUnread(world: World, event: Extract<WorldEvent, { kind: 'retention-unread' }>): void {
  if (world.isHealed) return;
  const { partition, behind, share } = event;
  const { coordinator, input } = world.broker;
  const log = input.partitions[partition];
  const committed = coordinator.committed(partition);
  const from = Math.max(committed ?? Number.NaN, log.earliest);
  const unread = log.entries.length - from;
  if (!(unread >= behind)) {
    world.time.after(unreadLookMs, () => deleteUnread(world, event));
    return;
  }
  const to = from + Math.ceil(unread * share);
  log.earliest = to;
  world.hasTruncated = true;
  world.deletedUnread.set(partition, [...(world.deletedUnread.get(partition) ?? []), { from, to }]);
  world.trace(`${from} to ${to} of ${partition} are deleted`);
}

const lookMs = 200;

/** As `weir offsets reset`: when the group has no members, the partition's state is erased first if it is ahead, the offset is set last. */
function resetWhenStopped(world: World, partition: number, share: number): void {
  world.isStopped = true;
  for (const { stop } of world.instances) stop.abort();
  const look = () => {
    const isLive = world.instances.some(({ hasEnded, process }) => !hasEnded && process.state !== 'dead');
    if (isLive || world.broker.group.size > 0) world.time.after(lookMs, look);
    else reset(world, partition, share);
  };
  look();
}

function reset(world: World, partition: number, share: number): void {
  const { broker, servers } = world;
  world.isStopped = false;
  const log = broker.input.partitions[partition];
  const before = broker.coordinator.committed(partition);
  const to = Math.max(log.earliest, Math.floor(log.entries.length * share));
  if (before === undefined || broker.coordinator.isUnstable(partition)) return;
  if (to < before) for (const { keyspace } of servers) keyspace.erase(`${inputTopic}:${partition}`);
  broker.coordinator.commit(partition, to, broker.coordinator.metadata(partition));
  const from = world.resets.get(partition) ?? 0;
  world.stretches.set(partition, [...(world.stretches.get(partition) ?? []), { from, to: before }]);
  world.resets.set(partition, to);
  world.trace(`operator set ${partition} from ${before} to ${to}`);
}
