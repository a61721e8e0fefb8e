import type { Lease } from './lease.ts';
import type { ShardState } from './shard-standing.ts';

export type LeaseEvent =
  /** `taken` was nobody's, `expired` a silent worker's, `stolen` a living one's. `lost`: to another worker, or by own silence. */
  | {
      /** `gone`: the shard left the stream before it was read to its end; what was left in it is lost. */
      readonly kind: 'taken' | 'expired' | 'stolen' | 'lost' | 'evicted' | 'ended' | 'deleted' | 'gone';
      readonly lease: Lease;
    }
  /** The table or the stream did not answer; tried again. */
  | { readonly kind: 'trouble'; readonly error: unknown };

/** How the leases are shared out, as of the last look at the table. */
export interface LeaseLook {
  readonly shards: Readonly<Record<ShardState, number>>;
  /** Leases by who has them: this worker, another living one, or nobody although the shard is to be read. */
  readonly leases: Readonly<Record<'self' | 'other' | 'none', number>>;
}
