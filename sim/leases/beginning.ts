import type { HeldLease } from '../../consumers/kinesis/held-lease.ts';
import type { InitialPosition, Shard } from '../../consumers/kinesis/shards.ts';
import { type Random, seededRandom } from '../../runtime/random.ts';
import type { SimulatedShard, SimulatedStream } from './stream.ts';

/** Where a fleet begins that has no leases yet, in a stream that has been split and merged before. */
export interface Beginning {
  readonly initial: InitialPosition;
  /** The shards that stand there, as the stream tells. */
  shards(): Shard[];
  /** The record before which nobody is to read a shard whose lease says that nobody has. Of one that begins at its end that is kept with the lease. */
  of(held: HeldLease): Promise<number>;
  /** True of what the fleet need not read: it was closed before. */
  isBefore(id: string): boolean;
}

/** @param hasLease whether a shard has ever had a lease. @param violated told what must not be. */
export function beginAt(
  initial: InitialPosition,
  stream: SimulatedStream,
  hasLease: (id: string) => boolean,
  violated: (what: string) => void,
  random: Random,
): Beginning {
  const firstOf = new Map<string, number>();
  const closedBefore = new Set<string>();
  let standing = stream.open();
  if (initial !== 'TRIM_HORIZON') {
    reshard();
    standing = stream.open();
    for (const shard of stream.shards.values()) {
      if (initial === 'AT_TIMESTAMP' || !shard.isOpen) skip(shard, shard.records);
      if (!shard.isOpen) closedBefore.add(shard.id);
    }
    if (initial === 'AT_TIMESTAMP') reshard();
  }

  function reshard(): void {
    for (let n = 0; n < 4; n++) {
      stream.append();
      if (random.below(2) === 0) stream.merge();
      else stream.split();
    }
    stream.append();
  }

  function skip(shard: SimulatedShard, records: number): void {
    firstOf.set(shard.id, records);
    shard.published = Math.max(shard.published, records);
  }

  return {
    initial,
    shards() {
      const there = initial === 'LATEST' ? stream.open() : standing.filter(({ isGone }) => !isGone);
      return initial === 'TRIM_HORIZON' || there.length === 0 ? eldest(stream) : there;
    },
    async of(held) {
      const { key, checkpoint, positions } = held.lease;
      if (checkpoint.sequence !== 'LATEST') {
        const first = firstOf.get(key) ?? 0;
        if (first > 0 && checkpoint.sequence === 'TRIM_HORIZON') violated(`${key} is read from before the beginning`);
        return first;
      }
      if (positions?.weirCheckpoint !== undefined) return Number(positions.weirCheckpoint);
      const shard = stream.shards.get(key)!;
      if (shard.parents.some(hasLease)) violated(`${key} begins at its end, though it follows one that was read`);
      const { records } = shard;
      await held.make({ kind: 'checkpoint', checkpoint, positions: { weirCheckpoint: String(records) } });
      if (firstOf.has(key) && shard.isOpen) violated(`${key} begins at its end once more`);
      skip(shard, records);
      return records;
    },
    isBefore: (id) => closedBefore.has(id) || (initial === 'LATEST' && !stream.shards.get(id)!.isOpen && !hasLease(id)),
  };
}

/** Those that came from none that the stream still has. */
function eldest(stream: SimulatedStream): Shard[] {
  const ids = new Set(stream.listed().map(({ id }) => id));
  return stream.listed().filter(({ parents }) => !parents.some((parent) => ids.has(parent)));
}

/** What fleets differ in beyond their faults; drawn apart from these. */
export interface Variety {
  readonly initial: InitialPosition;
  readonly hasRetention: boolean;
  readonly javaWorkers: number;
}

export function varietyOf(seed: number): Variety {
  const random = seededRandom(0x5eed ^ seed);
  const initial = (['TRIM_HORIZON', 'TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP'] as const)[random.below(4)];
  const hasRetention = random.below(2) === 0;
  const javaWorkers = initial === 'TRIM_HORIZON' && !hasRetention ? random.below(3) : 0;
  return { initial, hasRetention, javaWorkers };
}
