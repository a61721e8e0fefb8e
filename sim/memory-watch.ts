import type { Feed, Fetcher } from '../consumers/kafka/fetcher.ts';
import { type OutputBatch, type Ownership, partitionName } from '../consumers/ports.ts';
import type { StateStore } from '../features/store.ts';
import type { SimulatedBroker } from './kafka/broker.ts';
import type { Settings } from './plan.ts';
import { Violation } from './violation.ts';
import type { Alterations } from './weir.ts';

export interface MemoryWatchOptions {
  readonly settings: Settings;
  readonly broker: SimulatedBroker;
  /** Of the process. */
  readonly name: string;
  /** Whether it goes on without the store: then nothing waits for it. */
  readonly isDegraded: () => boolean;
  readonly violated: (violation: Violation) => void;
}

/** Looks at what a process holds on its way: records that are fetched and not read, and changes that wait for a flush. */
export function watchMemory(options: MemoryWatchOptions): Alterations {
  const { settings, name } = options;
  const violated = (what: string) => options.violated(new Violation('memory', `${name} ${what}`));
  const prefetch = watchPrefetch(settings, violated);
  const changes = watchChanges(options, violated);
  return { ...prefetch, ...changes };
}

/** A fetch is made only while there is room for a record, and brings so many at the most. */
function watchPrefetch(
  { prefetchRecords, fetchRecords }: Settings,
  violated: (what: string) => void,
): Pick<Alterations, 'fetcher' | 'source'> {
  const most = prefetchRecords - 1 + fetchRecords;
  /** By partition: offsets of what was fetched and not read, behind which fetching and reading go on. */
  const held = new Map<number, { offsets: number[]; fetchAt: number; readAt: number }>();

  function watched(feed: Feed): Feed {
    const { partition } = feed;
    held.set(partition, { offsets: [], fetchAt: Number.NaN, readAt: Number.NaN });
    return {
      ...feed,
      fetched(batch, next) {
        const of = held.get(partition)!;
        const from = Number(batch.fetchedOffset);
        // Else it is an answer from before a seek, which is left out.
        if (feed.wanted() === from) {
          const offsets = batch.messages.map(({ offset }) => Number(offset)).filter((offset) => offset >= from);
          of.offsets = from === of.fetchAt ? [...of.offsets, ...offsets] : offsets;
          of.fetchAt = next;
          const { length } = of.offsets;
          if (length > most) violated(`holds ${length} records of ${partition} that are not read, of ${most} at most`);
        }
        feed.fetched(batch, next);
      },
      outOfRange() {
        held.get(partition)!.offsets = [];
        feed.outOfRange();
      },
    };
  }

  function read(of: Ownership): Ownership['read'] {
    return async (position) => {
      const before = held.get(of.partition);
      // A seek drops all.
      if (before !== undefined && before.readAt !== position) before.offsets = [];
      const raw = await of.read(position);
      const after = held.get(of.partition);
      if (after !== undefined) {
        after.offsets = after.offsets.filter((offset) => offset >= raw.next);
        after.readAt = raw.next;
      }
      return raw;
    };
  }

  return {
    fetcher(of: Fetcher) {
      const feeds = new Map<Feed, Feed>();
      return {
        ...of,
        add(feed) {
          feeds.set(feed, watched(feed));
          of.add(feeds.get(feed)!);
        },
        remove(feed) {
          of.remove(feeds.get(feed)!);
          feeds.delete(feed);
        },
      };
    },
    source: (of) => ({
      ...of,
      async *ownerships(signal) {
        for await (const each of of.ownerships(signal)) {
          yield {
            ...each,
            // It may grow.
            get partitions() {
              return each.partitions;
            },
            read: read(each),
          };
        }
      },
    }),
  };
}

/**
 * While a flush takes its time, a partition goes on only until as many sub-states have changed as half of its share of the cache; once the store has
 * refused it, no further than with the batch that was under way.
 */
function watchChanges(
  { settings, broker, isDegraded }: MemoryWatchOptions,
  violated: (what: string) => void,
): Pick<Alterations, 'store' | 'sink'> {
  /** By partition: the flush that the store has not taken yet; what has changed since, and how many batches were published since it was refused. */
  const pending = new Map<string, { readonly changed: Set<string>; isRefused: boolean; batches: number }>();

  function noteBatch(of: Ownership, { events }: OutputBatch): void {
    const flush = pending.get(partitionName(of));
    if (flush === undefined || isDegraded()) return;
    const { changed } = flush;
    const most = settings.cacheEntities / 2;
    if (changed.size >= most)
      violated(`goes on with ${of.partition} though ${changed.size} sub-states wait for the flush, of ${most} at most`);
    if (flush.isRefused && flush.batches++ > 0)
      violated(`goes on with ${of.partition} though the store refuses what was changed before`);
    for (const { id } of events) {
      const { entries } = broker.input.partitions[of.partition];
      const record = entries[Number(id.slice(id.lastIndexOf(':') + 1))]!;
      const { card, shop } = JSON.parse(String(record.value)) as { card: string; shop: string };
      changed.add(card).add(shop);
    }
  }

  return {
    store(of: StateStore) {
      return {
        ...of,
        async flush(partition, changes, fence) {
          if (!pending.has(partition)) pending.set(partition, { changed: new Set(), isRefused: false, batches: 0 });
          const mine = pending.get(partition)!;
          try {
            await of.flush(partition, changes, fence);
            if (pending.get(partition) === mine) pending.delete(partition);
          } catch (error) {
            mine.isRefused = true;
            throw error;
          }
        },
      };
    },
    sink: (of) => ({
      ...of,
      async open(at) {
        // What the partition had under way in its former tenure is given up.
        pending.delete(partitionName(at));
        const output = await of.open(at);
        return {
          ...output,
          publish(batch, position) {
            noteBatch(at, batch);
            return output.publish(batch, position);
          },
        };
      },
    }),
  };
}
