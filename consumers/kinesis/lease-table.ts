import type { Lease } from './lease.ts';
import type { LeaseChange } from './lease-change.ts';

/**
 * The table that the workers of one application share. Adapters: dynamo-lease-table.ts and the simulation's; contract in
 * test/contract/lease-table.ts.
 */
export interface LeaseTable {
  /**
   * Asks whether the table is still one that can be shared, as far as its leases do not tell.
   * @throws WeirError INPUT when it is not; BROKER when that cannot be told now.
   */
  demandShareable(): Promise<void>;
  /**
   * All leases, as they were some moments ago.
   * @param isCurrent as they are now, which costs twice as much.
   * @throws WeirError INPUT when the table is not, or no longer, one that can be shared; BROKER when it cannot be read now.
   */
  list(isCurrent?: boolean): Promise<Lease[]>;
  /** One lease as it is now; undefined when there is none. */
  read(key: string): Promise<Lease | undefined>;
  /**
   * Makes the change; false when the lease is not as the change expects it.
   * @throws WeirError BROKER when it is not known whether the change was made.
   */
  write(change: LeaseChange): Promise<boolean>;
}
