import type { Shard } from '../../consumers/kinesis/shards.ts';
import type { Random } from '../../runtime/random.ts';

/** A shard with its records, numbered from 1 in the order of their coming. */
export interface SimulatedShard extends Shard {
  isOpen: boolean;
  records: number;
  /** Records that somebody has published, or that are before the fleet's beginning, or that were deleted. */
  published: number;
  /** Its retention is over. */
  isGone: boolean;
}

export interface SimulatedStream {
  readonly shards: ReadonlyMap<string, SimulatedShard>;
  open(): SimulatedShard[];
  /** Those that it says it has. */
  listed(): SimulatedShard[];
  /** Gives every open shard some records. */
  append(): void;
  split(): void;
  /** The shard that was closed before all others leaves it, read or not. @returns which. */
  expire(): SimulatedShard | undefined;
  /** Two shards beside each other become one. */
  merge(): void;
  children(id: string): SimulatedShard[];
}

const hashKeys = 2n ** 128n;

export function createStream(count: number, random: Random): SimulatedStream {
  const shards = new Map<string, SimulatedShard>();
  /** In the order of their closing, without those that are gone. */
  const closed: string[] = [];
  const listed = () => [...shards.values()].filter(({ isGone }) => !isGone);
  const open = () => [...shards.values()].filter(({ isOpen }) => isOpen);

  function add(parents: readonly SimulatedShard[], start: bigint, end: bigint): void {
    for (const parent of parents) {
      if (parent.isOpen) closed.push(parent.id);
      parent.isOpen = false;
    }
    const id = `shardId-${String(shards.size).padStart(12, '0')}`;
    const hashRange = { start: String(start), end: String(end) };
    shards.set(id, {
      id,
      parents: parents.map((parent) => parent.id),
      hashRange,
      isOpen: true,
      records: 0,
      published: 0,
      isGone: false,
    });
  }
  // In every third shard there is next to nothing.
  const isBusy = ({ id }: Shard) => Number(id.slice(-1)) % 3 !== 2;
  const range = ({ hashRange }: Shard) => [BigInt(hashRange.start), BigInt(hashRange.end)] as const;

  const width = hashKeys / BigInt(count);
  for (let n = 0; n < count; n++) {
    add([], BigInt(n) * width, n === count - 1 ? hashKeys - 1n : BigInt(n + 1) * width - 1n);
  }

  return {
    shards,
    open,
    listed,
    append() {
      for (const shard of open()) if (isBusy(shard) || random.below(200) === 0) shard.records += random.below(20);
    },
    split() {
      const all = open();
      const shard = all[random.below(all.length)];
      const [start, end] = range(shard);
      const middle = (start + end) / 2n;
      add([shard], start, middle);
      add([shard], middle + 1n, end);
    },
    expire() {
      const oldest = closed.shift();
      if (oldest === undefined) return undefined;
      const shard = shards.get(oldest)!;
      shard.isGone = true;
      shard.published = shard.records;
      return shard;
    },
    merge() {
      const all = open().sort((a, b) => (range(a)[0] < range(b)[0] ? -1 : 1));
      if (all.length < 2) return;
      const left = random.below(all.length - 1);
      add([all[left], all[left + 1]], range(all[left])[0], range(all[left + 1])[1]);
    },
    children: (id) => [...shards.values()].filter(({ parents }) => parents.includes(id)),
  };
}
