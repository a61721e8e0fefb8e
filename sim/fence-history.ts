/** Through where each partition is known to be stored, over time. */
export interface FenceHistory {
  /** @param fences the lowest over the slot groups, by partition; what is missing counts as 0. */
  note(at: number, fences: ReadonlyMap<number, number>): void;
  /** What was stored of the partition all the time from then on until now or the later time. */
  storedBetween(partition: number, from: number, to: number): number;
}

export function createFenceHistory(): FenceHistory {
  const byPartition = new Map<number, { readonly at: number; readonly fence: number }[]>();
  return {
    note(at, fences) {
      for (const [partition, fence] of fences) {
        const history = byPartition.get(partition) ?? [{ at: 0, fence: 0 }];
        byPartition.set(partition, history);
        if (history[history.length - 1].fence !== fence) history.push({ at, fence });
      }
    },
    storedBetween(partition, from, to) {
      const history = byPartition.get(partition) ?? [];
      let stored = Number.POSITIVE_INFINITY;
      for (let k = history.length - 1; k >= 0; k--) {
        if (history[k].at > to) continue;
        stored = Math.min(stored, history[k].fence);
        if (history[k].at <= from) break;
      }
      return Number.isFinite(stored) ? stored : 0;
    },
  };
}
