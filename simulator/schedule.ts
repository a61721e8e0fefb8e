/** A binary heap of things that happen at a time; `takeBefore` gives them back in order of time. */
export interface Schedule<T extends { time: number }> {
  add(item: T): void;
  /** The earliest item if it is due before `time`, taken out; else undefined. */
  takeBefore(time: number): T | undefined;
}

export function createSchedule<T extends { time: number }>(): Schedule<T> {
  const heap: T[] = [];
  return {
    add(item) {
      let at = heap.push(item) - 1;
      while (at > 0) {
        const parent = (at - 1) >> 1;
        if (heap[parent].time <= item.time) break;
        heap[at] = heap[parent];
        at = parent;
      }
      heap[at] = item;
    },
    takeBefore(time) {
      if (heap.length === 0 || heap[0].time >= time) return undefined;
      const first = heap[0];
      const last = heap.pop()!;
      if (heap.length > 0) sink(heap, last);
      return first;
    },
  };
}

function sink<T extends { time: number }>(heap: T[], item: T): void {
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && heap[child + 1].time < heap[child].time) child++;
    if (heap[child].time >= item.time) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = item;
}
