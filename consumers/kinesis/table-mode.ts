import type { TableDescription } from '@aws-sdk/client-dynamodb';
import { isLeaseItem, type LeaseItem } from './lease.ts';

/**
 * Whether a table can be shared. The Kinesis Client Library 3.x lets a leader assign the leases and hands them over in two steps:
 * a worker that takes them as 2.x does breaks those hand-overs. It says what it does in an item of its own, since 3.5 in the lease table, before
 * in another one.
 */

/** Key of the item in which 3.x keeps what its workers agree on. */
export const migrationKey = 'Migration3.0';
const ownerIndex = 'LeaseOwnerToLeaseKeyIndex';

/** What 3.x calls the agreement that all work as 2.x does. */
const as2x = 'CLIENT_VERSION_2X';

/** Why the table cannot be used, as the end of a sentence that begins with its name; undefined when it can. */
export function refusalOfTable({ KeySchema = [] }: TableDescription): string | undefined {
  const isLeaseTable = KeySchema.length === 1 && KeySchema[0].AttributeName === 'leaseKey';
  return isLeaseTable ? undefined : "is another application's: its key is not leaseKey alone; name another lease_table";
}

/** The same of how the library's workers use a lease table. @param migration what 3.x says of it, where it does. */
export function refusalOfUse(table: TableDescription, migration: LeaseItem | undefined): string | undefined {
  const said = migration && refusalOfItem(migration);
  if (said !== undefined) return said;
  // What is left of the index after a return to 2.x does no harm.
  if (hasOwnerIndex(table) && migration?.cv?.S !== as2x) {
    return `has the index ${ownerIndex}: its leases are assigned by a leader of the Kinesis Client Library 3.x. ${remedy}`;
  }
  return undefined;
}

/** Whether the table has the index that a leader of 3.x makes; only then what 3.x says of itself matters beside what forbids the sharing. */
export function hasOwnerIndex({ GlobalSecondaryIndexes = [] }: TableDescription): boolean {
  return GlobalSecondaryIndexes.some(({ IndexName }) => IndexName === ownerIndex);
}

/** Why the table cannot be used, as an item of it tells; undefined for a lease. */
export function refusalOfItem(item: LeaseItem): string | undefined {
  if (isLeaseItem(item) && item.leaseCounter !== undefined) return undefined;
  const key = item.leaseKey?.S ?? item.key?.S ?? 'without a key';
  const version = item.cv?.S;
  if (key === migrationKey && version === as2x) return undefined;
  if (key === migrationKey) return `is used by the Kinesis Client Library 3.x (${version}). ${remedy}`;
  const kind = item.entityType?.S;
  if (kind === 'LEADER') return `has a leader of the Kinesis Client Library 3.x, ${item.ownerName?.S}. ${remedy}`;
  // Left over: without a leader nobody acts on them.
  if (kind === 'WORKER_METRIC_STATS') return undefined;
  return `holds the item ${key}, which is no lease${kind === undefined ? '' : ` but a ${kind}`}. ${remedy}`;
}

const remedy =
  'Let the Java workers run with CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X (3.5: its phase 1), or name another lease_table';
