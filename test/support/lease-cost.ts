import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { openLeaseTable } from '../../consumers/kinesis/dynamo-lease-table.ts';
import type { HeldLease } from '../../consumers/kinesis/held-lease.ts';
import { createLeaseCoordinator } from '../../consumers/kinesis/lease-coordinator.ts';
import type { Shard } from '../../consumers/kinesis/shards.ts';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { clockOf, createVirtualTime } from '../../sim/clock.ts';
import { createChance } from '../../sim/random.ts';
import { type BusyShard, busyShard, longSequence, recordOf } from './lease-item.ts';

/** What a fleet asks of its lease table, per lease and hour. */
export interface LeaseCost {
  /** Request units as DynamoDB counts them. */
  readonly written: number;
  readonly read: number;
  /** Requests by the name of their command. */
  readonly requests: Readonly<Record<string, number>>;
}

export interface CostOptions {
  readonly leases: number;
  readonly workers: number;
  readonly failoverMs: number;
  /** Least time between two checkpoints of a lease that is never idle; undefined: all are idle. */
  readonly checkpointMs?: number;
  readonly hours: number;
}

const hourMs = 3_600_000;
/** Until the shares are even. */
const settlingMs = 180_000;

/**
 * Counts the requests that workers send through the SDK to the table, in virtual time: it goes on only while none is under way.
 * @param dynamo requests are counted at its middleware; nobody else may use it meanwhile.
 */
export async function leaseCost(dynamo: DynamoDBClient, table: string, options: CostOptions): Promise<LeaseCost> {
  const meter = meterRequests(dynamo);
  const leaseTable = await openLeaseTable(dynamo, table, systemClock);
  const time = createVirtualTime(createChance(1, table));
  const clock = clockOf(time, 0, (work) => work());
  const shard = busyShard();
  if (options.checkpointMs !== undefined) shard.readTo(hoursOfRecords);
  const stop = new AbortController();
  const runs = Array.from({ length: options.workers }, (_, index) => {
    const coordinator = createLeaseCoordinator({
      table: leaseTable,
      shards: { list: async () => shardsOf(options.leases), isGone: async () => false },
      worker: `${`host-${index}`.padEnd(51, '-')}:0123456789ab`,
      failoverMs: options.failoverMs,
      shardSyncMs: 60_000,
      maxLeases: 1_000,
      checkpointMs: options.checkpointMs ?? 0,
      initial: 'TRIM_HORIZON',
      clock,
      random: seededRandom(index),
      leaving: stop.signal,
      onReady(held) {
        if (options.checkpointMs === undefined) return;
        void keepCheckpointing(held, shard.copy(), clock).catch(() => undefined);
      },
    });
    return coordinator.run(stop.signal);
  });
  const runUntil = async (ms: number) => {
    do {
      await meter.idle();
    } while (time.now() < ms && (await time.step()));
  };
  await runUntil(settlingMs);
  await meter.idle();
  meter.reset();
  await runUntil(settlingMs + options.hours * hourMs);
  await meter.idle();
  const { written, read, requests } = meter.total();
  stop.abort();
  let isOver = false;
  const ended = Promise.all(runs).finally(() => {
    isOver = true;
  });
  // Who gives leases up waits for the checkpoints before.
  while (!isOver) await runUntil(time.now() + 1);
  await ended;
  meter.remove();
  const share = options.leases * options.hours;
  return {
    written: written / share,
    read: read / share,
    requests: Object.fromEntries(Object.entries(requests).map(([name, count]) => [name, count / share])),
  };
}

/** Hours behind its beginning a shard keeps as many places as it ever does. */
const hoursOfRecords = 20_000_000;

async function keepCheckpointing(held: HeldLease, shard: BusyShard, clock: Clock): Promise<void> {
  const { sequence } = held.lease.checkpoint;
  let record = sequence === 'TRIM_HORIZON' ? hoursOfRecords : recordOf(sequence);
  while (!held.revoked.aborted) {
    await clock.sleep(0);
    record += 1_500;
    shard.readTo(record);
    const checkpoint = { sequence: longSequence(record), sub: 0 };
    await held.make({ kind: 'checkpoint', checkpoint, positions: shard.positions() });
  }
}

function shardsOf(count: number): Shard[] {
  const width = 2n ** 128n / BigInt(count);
  return Array.from({ length: count }, (_, index) => ({
    id: `shardId-${String(index).padStart(12, '0')}`,
    parents: [],
    hashRange: { start: String(BigInt(index) * width), end: String(BigInt(index + 1) * width - 1n) },
    isOpen: true,
  }));
}

const readers: ReadonlySet<string> = new Set(['ScanCommand', 'GetItemCommand']);

/** Has DynamoDB say with each answer how many units the request took. */
function meterRequests(client: DynamoDBClient) {
  let underWay = 0;
  let written = 0;
  let read = 0;
  let requests: Record<string, number> = {};
  client.middlewareStack.add(
    (next, { commandName = '' }) =>
      async (args) => {
        underWay++;
        try {
          const input = args.input as { ReturnConsumedCapacity?: string };
          const takesUnits = readers.has(commandName) || /^(Put|Update|Delete)Item/.test(commandName);
          const answer = await next(
            takesUnits ? { ...args, input: { ...input, ReturnConsumedCapacity: 'TOTAL' } as typeof args.input } : args,
          );
          const { ConsumedCapacity } = answer.output as { ConsumedCapacity?: { CapacityUnits?: number } };
          const units = ConsumedCapacity?.CapacityUnits ?? 0;
          if (readers.has(commandName)) read += units;
          else written += units;
          requests[commandName] = (requests[commandName] ?? 0) + 1;
          return answer;
        } finally {
          underWay--;
        }
      },
    { step: 'initialize', name: 'meter' },
  );
  return {
    /** Resolves once nothing is under way, and nothing follows from the last answer. */
    async idle(): Promise<void> {
      for (let quiet = 0; quiet < 3; quiet++) {
        await new Promise((resolve) => setImmediate(resolve));
        if (underWay > 0) quiet = -1;
      }
    },
    reset() {
      written = 0;
      read = 0;
      requests = {};
    },
    total: () => ({ written, read, requests: { ...requests } }),
    remove: () => client.middlewareStack.remove('meter'),
  };
}
