import { type Mutant, one } from '../mutants.ts';

const folder = 'consumers/kinesis';

/** Deliberate faults of the lease logic. */
export const leaseMutants: readonly Mutant[] = [
  one(
    'a lease is taken whatever its counter is',
    `${folder}/lease-change.ts`,
    "    case 'give':\n      return update(lease, counter, {",
    "    case 'give':\n      return update(lease, exists(lease), {",
  ),
  one(
    'a lease is renewed whatever its counter is',
    `${folder}/lease-change.ts`,
    '{ ...counter, checkpointOwner: { Exists: false } }',
    '{ checkpointOwner: { Exists: false } }',
  ),
  one(
    'a checkpoint is made whatever the counter is',
    `${folder}/lease-change.ts`,
    "    case 'checkpoint':\n      return update(lease, counter, {",
    "    case 'checkpoint':\n      return update(lease, exists(lease), {",
  ),
  one(
    "a renewal and a checkpoint go on with a lease that is somebody else's",
    `${folder}/lease-outcome.ts`,
    "  if (found.owner !== worker || found.checkpointOwner !== undefined) return { kind: 'refused' };",
    "  if (found.owner !== worker) return { kind: 'again', lease: found };",
  ),
  one(
    'a refused checkpoint is taken for made',
    `${folder}/held-lease.ts`,
    'if (made === undefined) throw fenced(lease.key);',
    'if (made === undefined) return;',
  ),
  {
    ...one(
      'a checkpoint whose answer is lost is taken for made',
      `${folder}/lease-outcome.ts`,
      "return isMade(change, found) ? { kind: 'done', lease: found } : { kind: 'again', lease: found };\n}",
      "return { kind: 'done', lease: found };\n}",
    ),
    // The request itself has to get lost, and the owner to be succeeded before its next one.
    firstSeed: 248,
  },
  one(
    'a lost answer to taking a lease means that it is taken',
    `${folder}/lease-outcome.ts`,
    'if (found.owner !== worker || found.counter !== lease.counter + 1)',
    'if (found.counter < lease.counter + 1)',
  ),
  one(
    'an owner never lets go by its own clock',
    `${folder}/held-leases.ts`,
    'one.revoked.aborted || now - one.renewedAt >= failoverMs',
    'one.revoked.aborted',
  ),
  one(
    'an owner counts from the answer to its renewal',
    `${folder}/held-lease.ts`,
    'renewedAt = sentAt;\n',
    'renewedAt = clock.monotonic() + 8_000;\n',
  ),
  one(
    'a lease that is renewed expires all the same',
    `${folder}/lease-view.ts`,
    'seen?.lease.counter === lease.counter ? seen.since : now',
    'seen?.since ?? now',
  ),
  one(
    'an expired lease is left to its owner',
    `${folder}/lease-view.ts`,
    'lease.owner === undefined || now - since >= failoverMs',
    'lease.owner === undefined',
  ),
  one(
    'a child is read before its parent has ended',
    `${folder}/shards.ts`,
    'return found === undefined || isShardEnd(found.checkpoint);',
    'return true;',
  ),
  {
    ...one(
      'a parent that a look does not show counts as gone',
      `${folder}/shard-leases.ts`,
      ' || !(await parentsAreGone(one.lease, view))',
      '',
    ),
    // Who makes leases looks at the table as it is now; somebody else has to look at that moment.
    firstSeed: 300,
  },
  one(
    'a shard ends before what follows it has leases',
    `${folder}/shard-leases.ts`,
    '      await createChildren(children);\n      if (children',
    '      if (children',
  ),
  one(
    'a merged shard gets its lease although its other parent has none',
    `${folder}/shard-leases.ts`,
    'if (children.some(({ parents }) => !parents.every(hasLease))) await sync(known);',
    'void hasLease;',
  ),
  one(
    'a lease is deleted before its children are read',
    `${folder}/shards.ts`,
    'return child !== undefined && !isInitial(child.checkpoint);',
    'return child !== undefined;',
  ),
  one(
    'a shard that follows one that was read begins where the fleet did',
    `${folder}/shards.ts`,
    "isDescendant && initial !== 'AT_TIMESTAMP' ? trimHorizon.sequence : initial",
    'initial',
  ),
  one(
    'a shard that has left the stream is waited for',
    `${folder}/shard-leases.ts`,
    'if (!(await shards.isGone(one.lease.key))) return;',
    'return;',
  ),
  {
    ...one(
      'a lease waits for that of a shard that has left the stream',
      `${folder}/shard-leases.ts`,
      '(await Promise.all(missing.map(isPast))).every(Boolean)',
      'false',
    ),
    // One of two that follow has to leave unread, and its lease to go, while the other is being read.
    firstSeed: 500,
  },
  one(
    'leases are stolen for one more than the share',
    `${folder}/balance.ts`,
    'if (most < share || (most === share && needed < 2)) return [];',
    'if (most < share) return [];',
  ),
  one(
    'a lease expires when its renewal is due, as if clocks were one and nothing were lost',
    `${folder}/lease-view.ts`,
    'lease.owner === undefined || now - since >= failoverMs',
    'lease.owner === undefined || now - since >= 0.4 * failoverMs',
  ),
  one(
    'a lease that is asked for is handed over while it is read',
    `${folder}/lease-coordinator.ts`,
    'if (!shardLeases.isRead(one)) void release(one)',
    'void release(one)',
  ),
  one(
    'a lease that is asked for is stolen at the next look',
    `${folder}/hand-over.ts`,
    'seen === undefined || !isOverdue(now)',
    'seen === undefined',
  ),
  {
    name: 'leases are exchanged at once, whatever it gains',
    edits: [
      { file: `${folder}/balance.ts`, find: 'const leastGain = 0.2;', put: 'const leastGain = -10;' },
      {
        file: `${folder}/lease-coordinator.ts`,
        find: ' || now - changedAt < eveningShare * failoverMs',
        put: '',
      },
    ],
  },
];
