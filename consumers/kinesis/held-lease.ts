import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { compareCheckpoints } from './checkpoint.ts';
import type { Lease } from './lease.ts';
import type { LeaseChange } from './lease-change.ts';
import type { LeaseWrites } from './lease-writes.ts';
import { measureThroughput } from './throughput.ts';

/** A change but for the lease that it is made to. */
export type HeldChange = LeaseChange extends infer Change
  ? Change extends LeaseChange
    ? Omit<Change, 'lease'>
    : never
  : never;

/** A lease from when it is taken until it is lost, given back or finished. */
export interface HeldLease {
  readonly lease: Lease;
  /** Aborts when the lease is lost or given back; from then on nothing is written for it. */
  readonly revoked: AbortSignal;
  /** Monotonic time of the last change that was made, as of its sending: the others may count from no earlier. */
  readonly renewedAt: number;
  readonly isBusy: boolean;
  /** Aborts when another worker asks for the lease: it is to be given back once what is under way is done. */
  readonly recalled: AbortSignal;
  /** Who has asked for it, and still waits for it. */
  readonly wantedBy: string | undefined;
  /** So many bytes of the shard's records were read: what goes through it is written with renewals and checkpoints. */
  read(bytes: number): void;
  /**
   * Changes are made one after the other: each raises the counter that the next expects.
   * @throws WeirError FENCED when the lease is lost; BROKER when the table does not answer.
   */
  make(change: HeldChange): Promise<void>;
  lose(): void;
  /** Another worker asks for the lease, and waits for so long. The first who is heard gets it. */
  recall(by: string, patienceMs: number): void;
  /** That worker does not wait for the lease any more. It stays recalled. */
  withdraw(by: string): void;
}

export interface HeldLeaseOptions {
  readonly writes: LeaseWrites;
  readonly clock: Clock;
  /** Least time between two checkpoints: each is a write that is paid for. */
  readonly checkpointMs: number;
  /** Over which what goes through the shard is measured. */
  readonly throughputWindowMs: number;
}

export function holdLease(taken: Lease, takenAt: number, options: HeldLeaseOptions): HeldLease {
  const { writes, clock, checkpointMs } = options;
  const throughput = measureThroughput(options.throughputWindowMs, takenAt);
  const revocation = new AbortController();
  const recall = new AbortController();
  let wanted: { readonly by: string; readonly until: number } | undefined;
  let lease = taken;
  let renewedAt = takenAt;
  let checkpointedAt = Number.NEGATIVE_INFINITY;
  let waiting = 0;
  let queue: Promise<void> = Promise.resolve();

  async function makeNow(change: HeldChange): Promise<void> {
    if (change.kind === 'checkpoint') {
      await clock.sleep(Math.max(0, checkpointedAt + checkpointMs - clock.monotonic()), revocation.signal);
      checkpointedAt = clock.monotonic();
    }
    if (revocation.signal.aborted) throw fenced(lease.key);
    assertForward(change);
    const sentAt = clock.monotonic();
    const made = await writes.make(leaseChange(change, sentAt), revocation.signal);
    if (made === undefined || isLast.has(change.kind)) revocation.abort();
    if (made === undefined) throw fenced(lease.key);
    lease = made;
    // What does not raise the counter tells the others nothing.
    if (change.kind !== 'children') renewedAt = sentAt;
  }

  function leaseChange(change: HeldChange, now: number): LeaseChange {
    if (change.kind !== 'renew' && change.kind !== 'checkpoint') return { ...change, lease } as LeaseChange;
    return { ...change, lease, throughputKBps: rounded(throughput.kBps(now)) };
  }

  function assertForward(change: HeldChange): void {
    if (change.kind !== 'checkpoint' || compareCheckpoints(change.checkpoint, lease.checkpoint) >= 0) return;
    const { sequence, sub } = change.checkpoint;
    throw new WeirError('INTERNAL', `the checkpoint of ${lease.key} would go back to ${sequence}:${sub}`);
  }

  return {
    get lease() {
      return lease;
    },
    get renewedAt() {
      return renewedAt;
    },
    get isBusy() {
      return waiting > 0;
    },
    revoked: revocation.signal,
    recalled: recall.signal,
    get wantedBy() {
      return wanted !== undefined && clock.monotonic() < wanted.until ? wanted.by : undefined;
    },
    read: (bytes) => throughput.read(bytes, clock.monotonic()),
    make(change) {
      waiting++;
      const made = queue.then(() => makeNow(change)).finally(() => waiting--);
      queue = made.catch(() => undefined);
      return made;
    },
    lose: () => revocation.abort(),
    recall(by, patienceMs) {
      if (recall.signal.aborted) return;
      wanted = { by, until: clock.monotonic() + patienceMs };
      recall.abort();
    },
    withdraw(by) {
      if (wanted?.by === by) wanted = undefined;
    },
  };
}

/** Changes behind which the lease is not held any more. */
const isLast: ReadonlySet<LeaseChange['kind']> = new Set<LeaseChange['kind']>(['evict', 'give', 'delete']);

function fenced(key: string): WeirError {
  return new WeirError('FENCED', `the lease of ${key} is not this worker's any more`);
}

/** Bytes a second are as fine as it takes. */
function rounded(kBps: number | undefined): number | undefined {
  return kBps === undefined ? undefined : Math.round(kBps * 1_000) / 1_000;
}
