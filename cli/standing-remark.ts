import type { PartitionStanding } from '../consumers/offsets.ts';

/** What is to be said of a partition whose position and state do not go together; undefined where they do. */
export function standingRemark({
  partition,
  committed,
  trouble,
}: Pick<PartitionStanding, 'partition' | 'committed' | 'trouble'>): string | undefined {
  if (trouble === 'ahead' && committed === undefined) {
    return `Partition ${partition}: there is state, but the group has no position: it is another group's. No process can start: check source.kafka.group.`;
  }
  if (trouble === 'ahead') {
    return `Partition ${partition}: the state reaches beyond the position, which somebody has set back. No process can start: run weir offsets reset to the position that is wanted.`;
  }
  if (trouble === 'short') {
    return `Partition ${partition}: the log begins behind what is stored. Windows that reach further back will be incomplete until they have filled.`;
  }
  return undefined;
}

/** Of a partition whose log begins behind the group's position. */
export function lostSentence({ partition, lost }: { readonly partition: number; readonly lost: number }): string {
  return `Partition ${partition}: ${lost.toLocaleString('en-US')} records were deleted before they were read: never scored.`;
}
