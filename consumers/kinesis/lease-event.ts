import type { Lease } from './lease.ts';
import type { ShardState } from './shard-standing.ts';

/** What becomes of a lease. */
export type LeaseEventKind =
  /** It was nobody's. */
  | 'taken'
  /** A silent worker's. */
  | 'expired'
  /** A living one's, which handed it over. */
  | 'received'
  /** A living one's, which did not. */
  | 'stolen'
  /** To another worker, or by own silence. */
  | 'lost'
  /** Given up for whoever takes it. */
  | 'evicted'
  /** Given to the worker that had asked for it. */
  | 'handed'
  | 'ended'
  | 'deleted'
  /** The shard left the stream before it was read to its end; what was left in it is lost. */
  | 'gone';

export type LeaseEvent =
  | { readonly kind: LeaseEventKind; readonly lease: Lease }
  /** The table or the stream did not answer; tried again. */
  | { readonly kind: 'trouble'; readonly error: unknown };

/** How the leases are shared out, as of the last look at the table. */
export interface LeaseLook {
  readonly shards: Readonly<Record<ShardState, number>>;
  /** Leases by who has them: this worker, another living one, or nobody although the shard is to be read. */
  readonly leases: Readonly<Record<'self' | 'other' | 'none', number>>;
}
