import type { PartitionStanding } from '../consumers/offsets.ts';

/** What is to be said of a partition whose position and state do not go together; undefined where they do. */
export function standingRemark({
  partition,
  trouble,
}: Pick<PartitionStanding, 'partition' | 'trouble'>): string | undefined {
  if (trouble === 'ahead') {
    return `Partition ${partition}: the state reaches beyond the position, which somebody has set back. No process can start: run weir offsets reset to the position that is wanted.`;
  }
  if (trouble === 'short') {
    return `Partition ${partition}: the log begins behind what is stored. Windows that reach further back will be incomplete until they have filled.`;
  }
  return undefined;
}
