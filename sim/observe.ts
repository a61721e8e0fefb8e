import type { Ownership } from '../consumers/ports.ts';
import type { VirtualTime } from './clock.ts';
import type { Attempt } from './judge.ts';
import type { Trace } from './trace.ts';
import type { Alterations } from './weir.ts';

/** The ports as they are, but what goes through them is written down. */
export function observed(
  time: VirtualTime,
  attempts: Map<string, Attempt[]>,
  trace: Trace,
  name: string,
  isDegraded: () => boolean,
): Alterations {
  /** By partition: when its last batch came, and whether one was scored without the store then. */
  const lastRead = new Map<number, { readonly readAt: number; readonly isDegraded: boolean }>();
  let fewest = Number.POSITIVE_INFINITY;

  function ownership(of: Ownership): Ownership {
    return {
      ...of,
      // It may grow.
      get partitions() {
        return of.partitions;
      },
      async read(position) {
        fewest = Math.min(fewest, of.partitions);
        const raw = await of.read(position);
        lastRead.set(of.partition, { readAt: time.now(), isDegraded: isDegraded() });
        if (raw.values.length > 0) trace(`${name} read ${of.partition}:${raw.offsets[0]} to ${raw.next}`);
        return raw;
      },
    };
  }

  return {
    fetcher: (of) => of,
    source: (of) => ({
      ...of,
      async *ownerships(signal) {
        for await (const each of of.ownerships(signal)) yield ownership(each);
      },
    }),
    sink: (of) => ({
      ...of,
      async open(at) {
        trace(`${name} opens ${at.partition}`);
        const output = await of.open(at);
        return {
          ...output,
          publish(batch, position) {
            trace(
              `${name} publishes ${batch.events.map(({ id }) => id)} and the position ${position} of ${at.partition}`,
            );
            for (const { id } of batch.events) {
              const known = attempts.get(id) ?? [];
              const read = lastRead.get(at.partition)!;
              known.push({
                readAt: read.readAt,
                publishedAt: time.now(),
                hasSeenGrowth: at.partitions > fewest,
                isDegraded: read.isDegraded || isDegraded(),
              });
              attempts.set(id, known);
            }
            return output.publish(batch, position);
          },
        };
      },
    }),
    store: (of) => of,
  };
}
