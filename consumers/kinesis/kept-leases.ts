import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Lease } from './lease.ts';
import type { LeaseChange } from './lease-change.ts';
import type { LeaseTable } from './lease-table.ts';
import { leaseWrites } from './lease-writes.ts';
import type { PositionTexts } from './positions.ts';

/** Leases that an operator has, so that nobody reads their shards meanwhile. They are renewed until they are given up. */
export interface KeptLeases {
  /** @throws WeirError FENCED once somebody has taken one of them, or may have. */
  demand(): void;
  /**
   * Puts a lease's checkpoint where it is to be, also back.
   * @throws WeirError FENCED when the lease is somebody else's; BROKER when the table does not answer.
   */
  put(key: string, checkpoint: Checkpoint, positions: PositionTexts): Promise<void>;
  /** Gives them up, but for what somebody has taken. */
  giveUp(): Promise<void>;
}

/** Between two renewals, in parts of the failover time: who takes a lease is to be noticed soon. */
const renewalShare = 0.1;

/**
 * Takes the leases, all as they were seen, or none.
 * @throws WeirError FENCED when one of them has changed since; BROKER when the table does not answer.
 */
export async function keepLeases(
  table: LeaseTable,
  leases: readonly Lease[],
  worker: string,
  failoverMs: number,
  clock: Clock,
): Promise<KeptLeases> {
  const writes = leaseWrites(table, worker, failoverMs, clock);
  const kept = new Map<string, Lease>();
  const done = new AbortController();
  let renewedAt = clock.monotonic();
  let fault: { readonly error: unknown } | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  async function makeNow(change: LeaseChange): Promise<void> {
    const { key } = change.lease;
    const made = await writes.make({ ...change, lease: kept.get(key) ?? change.lease });
    if (made === undefined) throw taken(key);
    kept.set(key, made);
  }

  /** One after the other: each change expects the counter that the last has raised. */
  function make(work: () => Promise<void>): Promise<void> {
    const made = queue.then(work);
    queue = made.catch((error: unknown) => {
      fault ??= { error };
    });
    return made;
  }

  const renewAll = async () => {
    const sentAt = clock.monotonic();
    await Promise.all([...kept.values()].map((lease) => makeNow({ kind: 'renew', lease })));
    renewedAt = sentAt;
  };

  async function keepRenewing(): Promise<void> {
    while (fault === undefined && (await clock.sleep(renewalShare * failoverMs, done.signal))) {
      await make(renewAll).catch(() => undefined);
    }
  }

  async function giveUp(): Promise<void> {
    done.abort();
    await renewing;
    await queue;
    await Promise.all([...kept.values()].map((lease) => writes.make({ kind: 'evict', lease })));
  }

  let renewing: Promise<void> = Promise.resolve();
  try {
    for (const lease of leases) await makeNow({ kind: 'take', lease, owner: worker });
  } catch (error) {
    await giveUp().catch(() => undefined);
    throw error;
  }
  renewing = keepRenewing();

  return {
    demand() {
      if (fault !== undefined) throw fault.error;
      if (clock.monotonic() - renewedAt >= failoverMs) throw taken('the shards');
    },
    put(key, checkpoint, positions) {
      return make(() => makeNow({ kind: 'checkpoint', lease: kept.get(key)!, checkpoint, positions }));
    },
    giveUp,
  };
}

function taken(key: string): WeirError {
  return new WeirError(
    'FENCED',
    `somebody else has the lease of ${key} by now: stop all processes of the application, and run the command again; what is not done yet was left as it is`,
  );
}
