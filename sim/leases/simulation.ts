import type { LeaseEvent } from '../../consumers/kinesis/lease-event.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import type { InitialPosition } from '../../consumers/kinesis/shards.ts';
import type { TableFaults } from './faulty-table.ts';

/**
 * A fleet of workers that share a stream's shards through one lease table, in virtual time: clocks that differ and drift, requests and
 * answers that get lost, come late or twice, workers that stand still, crash, leave and come, shards that are split and merged while
 * they change hands. All follows from the seed.
 */
export interface LeaseSimulation {
  readonly seed: number;
  readonly workers?: number;
  readonly shards?: number;
  /** What goes wrong with requests; noFaults for a sound network. */
  readonly faults?: TableFaults;
  /** How long things go wrong; then all is quiet until the fleet has settled. */
  readonly troubledMs?: number;
  /** How many times something happens to a worker or the stream while things go wrong. */
  readonly incidents?: number;
  /** When the worker that has most leases crashes, incidents or none. */
  readonly crashAtMs?: number;
  /** Where the fleet begins; unless stated at the stream's first records. */
  readonly initial?: InitialPosition;
  /** How many workers are Java ones. They begin at the stream's first records, in a stream that keeps its shards. */
  readonly javaWorkers?: number;
  /** Shards leave the stream, also such as nobody has read to their end. */
  readonly hasRetention?: boolean;
  /** How many of ten workers can be asked for leases; the others have no Redis. */
  readonly askable?: number;
  /** A table that does not keep its promises: what the simulation must find out. */
  readonly mutateTable?: (table: LeaseTable) => LeaseTable;
  /** Told all that happens, line by line. */
  readonly trace?: (line: string) => void;
}

export interface LeaseReport {
  /** What must never happen and did, as sentences. */
  readonly violations: readonly string[];
  readonly events: Readonly<Record<LeaseEvent['kind'], number>>;
  /** The longest time that a shard with unread records had nobody at work on it while somebody could have been. */
  readonly longestOrphanedMs: number;
  readonly published: number;
  /** Records published again after a change of owner. */
  readonly repeated: number;
  readonly requests: number;
  /** What goes through the shards of each worker that is left, as the table has it in the end, KB/s. */
  readonly loads: readonly number[];
}
