import type { Lease } from './lease.ts';

/** Leases that this worker has handed over, for as long as their new owners have not taken them. */
export interface GivenLeases {
  asked(key: string, by: string): void;
  /** That worker does not ask for the lease any more: it does not take it either, should it have been given it. Gives whether it was. */
  withdrawn(key: string, by: string): boolean;
  /** @param lease as it is now. */
  gave(lease: Lease): void;
  /** Those that nobody will take. @param leases those of the table. */
  unwanted(leases: readonly Lease[]): Lease[];
}

export function createGivenLeases(): GivenLeases {
  const given = new Map<string, Lease>();
  /** By lease the last one who asks for it no more. */
  const withdrawn = new Map<string, string>();

  return {
    asked(key, by) {
      if (withdrawn.get(key) === by) withdrawn.delete(key);
    },
    withdrawn(key, by) {
      withdrawn.set(key, by);
      return given.get(key)?.owner === by;
    },
    gave: (lease) => void given.set(lease.key, lease),
    unwanted(leases) {
      return leases.filter(({ key, counter, owner }) => {
        const lease = given.get(key);
        if (lease === undefined) return false;
        // A look may have begun before it was given.
        if (counter > lease.counter) given.delete(key);
        return counter === lease.counter && owner === withdrawn.get(key);
      });
    },
  };
}
