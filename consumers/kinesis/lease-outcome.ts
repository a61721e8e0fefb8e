import { compareCheckpoints } from './checkpoint.ts';
import type { Lease } from './lease.ts';
import type { LeaseChange } from './lease-change.ts';

export type Outcome =
  | { readonly kind: 'done'; readonly lease: Lease }
  /** Not made, but it may be: again, expecting the lease as it is now. */
  | { readonly kind: 'again'; readonly lease: Lease }
  /** The lease is somebody else's, or gone. */
  | { readonly kind: 'refused' };

/**
 * What became of a change that was refused, or whose answer was lost, told from the lease as it is now. A refusal may be the answer
 * to the second sending of a request whose first was carried out, so the counter tells: it is raised by one at a time, by the owner or
 * by who takes the lease.
 */
export function outcomeOf(change: LeaseChange, found: Lease | undefined, worker: string): Outcome {
  const { kind, lease } = change;
  if (kind === 'delete') return found === undefined ? { kind: 'done', lease } : { kind: 'again', lease: found };
  if (kind === 'evict') {
    return found === undefined || found.owner !== worker ? { kind: 'done', lease } : { kind: 'again', lease: found };
  }
  if (kind === 'create') return found === undefined ? { kind: 'again', lease } : { kind: 'done', lease: found };
  if (found === undefined) return { kind: 'refused' };
  // Who was given it may have gone on with it.
  if (kind === 'give' && found.owner === change.owner && found.counter > lease.counter) return { kind: 'done', lease };
  if (kind === 'take') {
    if (found.counter === lease.counter) return { kind: 'again', lease: found };
    if (found.owner !== worker || found.counter !== lease.counter + 1) return { kind: 'refused' };
    // One that was its own before may have been raised by an earlier renewal: others count its silence from then.
    return { kind: lease.owner === worker ? 'again' : 'done', lease: found };
  }
  if (found.owner !== worker || found.checkpointOwner !== undefined) return { kind: 'refused' };
  if (kind === 'children') {
    return isMade(change, found) ? { kind: 'done', lease: found } : { kind: 'again', lease: found };
  }
  // A counter further on has been raised under another ownership of this worker's.
  if (found.counter === lease.counter) return { kind: 'again', lease: found };
  if (found.counter !== lease.counter + 1) return { kind: 'refused' };
  // Raised by one, but by an earlier renewal that was late: what was to be written is not.
  return isMade(change, found) ? { kind: 'done', lease: found } : { kind: 'again', lease: found };
}

function isMade(change: LeaseChange, found: Lease): boolean {
  if (change.kind === 'checkpoint') {
    const { weirCheckpoint, weirFence } = { ...change.lease.positions, ...change.positions };
    const isKept = found.positions?.weirCheckpoint === weirCheckpoint && found.positions?.weirFence === weirFence;
    return isKept && compareCheckpoints(found.checkpoint, change.checkpoint) === 0;
  }
  if (change.kind === 'children') return change.children.every((child) => found.children.includes(child));
  return true;
}
