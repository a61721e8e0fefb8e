import type { Checkpoint } from '../../consumers/kinesis/checkpoint.ts';
import { createOwnedShard, type ShardLease } from '../../consumers/kinesis/owned-shard.ts';
import type { PositionTexts } from '../../consumers/kinesis/positions.ts';
import type { LogStart, ShardLog, ShardPage, ShardPages, ShardRecord } from '../../consumers/kinesis/shard-log.ts';
import type { Ownership } from '../../consumers/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { aggregate } from './aggregate.ts';

/** One shard in memory: its log, its lease as the table has it, and a clock that goes on by itself. */
export interface ShardWorld {
  readonly log: ShardLog;
  /** What the lease table has. */
  readonly table: { checkpoint: Checkpoint; positions: PositionTexts };
  readonly records: readonly ShardRecord[];
  hasEnded: boolean;
  /** What the next page answers instead, once. */
  fault: WeirError | undefined;
  /** Told before the log is opened, and before each page. */
  onCall: () => void;
  /** Adds a Kinesis record with so many user records, each of which tells its own name: "7.2" is the third of the eighth. */
  append(users: number): void;
  /** Deletes the oldest records. */
  trim(count: number): void;
  /** How many are deleted. */
  trimmed(): number;
  /** @param beforeWrite before and after each write to the table; what it throws breaks the write off there. */
  own(options: OwnOptions): Ownership;
}

export interface OwnOptions {
  readonly isWhole?: boolean;
  readonly maxEvents?: number;
  readonly beforeWrite?: () => void;
  readonly startsAt?: number;
  readonly isClosed?: boolean;
}

const first = 49_680_495_458_933_812_820_470_964_442_167_462_550_175_381_300_212_400_130n;
const arrivalStepMs = 1_000;

export function createShardWorld(initial: string): ShardWorld {
  const records: ShardRecord[] = [];
  const clock = restlessClock();
  const table: ShardWorld['table'] = { checkpoint: { sequence: initial, sub: 0 }, positions: {} };
  let trimmed = 0;

  function open(from: LogStart): ShardPages {
    world.onCall();
    let at = startOf(from);
    let isClosed = false;
    let hasToldEnd = false;
    let hasRead = false;
    return {
      async next(): Promise<ShardPage> {
        await Promise.resolve();
        world.onCall();
        const { fault } = world;
        world.fault = undefined;
        if (fault !== undefined) throw fault;
        // With the last record that was read, what followed it may be gone.
        const isLastGone = hasRead && at <= trimmed;
        at = Math.max(at, trimmed);
        const read = records.slice(at, at + 3);
        const isBehindGap = isLastGone && read.length > 0;
        hasRead ||= read.length > 0;
        at += read.length;
        const children = world.hasEnded && at >= records.length ? [] : undefined;
        if (read.length === 0 && children === undefined && hasToldEnd) await turn();
        if (isClosed) throw new WeirError('FENCED', 'closed');
        hasToldEnd = read.length === 0;
        return { records: read, isBehindGap, millisBehind: (records.length - at) * arrivalStepMs, children };
      },
      close() {
        isClosed = true;
      },
    };
  }

  function startOf(from: LogStart): number {
    if (from.kind === 'beginning') return 0;
    if (from.kind === 'at') return records.findIndex(({ sequence }) => sequence === from.sequence);
    const at = records.findIndex(({ arrivedAt }) => arrivedAt >= from.time);
    return at < 0 ? records.length : at;
  }

  function lease({ beforeWrite = () => {} }: OwnOptions): ShardLease {
    const revocation = new AbortController();
    let last = table.checkpoint;
    return {
      key: 'shardId-000000000000',
      get checkpoint() {
        return last;
      },
      positions: table.positions,
      hashRange: { start: '0', end: String(2n ** 128n - 1n) },
      revoked: revocation.signal,
      recalled: new AbortController().signal,
      async write(checkpoint, positions) {
        beforeWrite();
        table.checkpoint = checkpoint;
        table.positions = { ...table.positions, ...positions };
        last = checkpoint;
        beforeWrite();
      },
      async end() {
        table.checkpoint = { sequence: 'SHARD_END', sub: 0 };
        revocation.abort();
      },
      async confirm() {},
      async evict() {
        revocation.abort();
      },
    };
  }

  const world: ShardWorld = {
    log: { open },
    table,
    records,
    hasEnded: false,
    fault: undefined,
    onCall: () => {},
    append(users) {
      const index = records.length;
      const names = Array.from({ length: users }, (_, sub) => ({ key: 'k', data: Buffer.from(`${index}.${sub}`) }));
      records.push({
        sequence: String(first + BigInt(index) * 1_000_003n),
        partitionKey: 'k',
        data: users === 1 ? names[0].data : aggregate(names),
        arrivedAt: (index + 1) * arrivalStepMs,
      });
    },
    trim(count) {
      trimmed = Math.min(records.length, trimmed + count);
    },
    trimmed: () => trimmed,
    own: (options) =>
      createOwnedShard({
        stream: 'tx',
        partition: 0,
        partitions: () => 1,
        readable: () => [0],
        ancestors: () => [],
        isClosed: () => options.isClosed ?? false,
        format: { type: 'json' },
        maxEvents: options.maxEvents ?? 100,
        limits: { records: 10, bytes: 1 << 20 },
        lease: lease(options),
        log: world.log,
        tail: world.log,
        startsAt: () => options.startsAt ?? (records.length + 1) * arrivalStepMs,
        isWhole: async () => options.isWhole ?? false,
        clock,
        onBehind: () => {},
        onRead: () => {},
      }),
  };
  return world;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Each look finds it far ahead of the last one; waits last a turn of the event loop. */
function restlessClock(): Clock {
  let now = 0;
  const monotonic = () => {
    now += 10_000;
    return now;
  };
  return {
    now: monotonic,
    monotonic,
    sleep: async () => {
      await turn();
      return true;
    },
    after(_, work) {
      const timer = setImmediate(work);
      return () => clearImmediate(timer);
    },
  };
}
