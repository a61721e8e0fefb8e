import type { AttributeValue, AttributeValueUpdate, ExpectedAttributeValue } from '@aws-sdk/client-dynamodb';
import { type LeaseItem, readLease } from '../../consumers/kinesis/lease.ts';
import { requestOf } from '../../consumers/kinesis/lease-change.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';

/** The lease table in memory: requests mean what they mean to DynamoDB. */
export function memoryLeaseTable(items: Map<string, LeaseItem> = new Map()): LeaseTable {
  return {
    demandShareable: async () => {},
    list: async () => [...items.values()].map(readLease),
    async read(key) {
      const item = items.get(key);
      return item && readLease(item);
    },
    async write(change) {
      const request = requestOf(change);
      const { key } = change.lease;
      if ('delete' in request) {
        items.delete(key);
        return true;
      }
      const expected = ('put' in request ? request.put : request.update).Expected ?? {};
      if (!isExpected(items.get(key) ?? {}, expected)) return false;
      if ('put' in request) items.set(key, structuredClone(request.put.Item!));
      else items.set(key, updated(items.get(key) ?? request.update.Key!, request.update.AttributeUpdates!));
      return true;
    },
  };
}

function isExpected(item: LeaseItem, expected: Record<string, ExpectedAttributeValue>): boolean {
  return Object.entries(expected).every(([name, { Value, Exists = true }]) =>
    Exists ? JSON.stringify(item[name]) === JSON.stringify(Value) : item[name] === undefined,
  );
}

function updated(item: LeaseItem, updates: Record<string, AttributeValueUpdate>): LeaseItem {
  const result = { ...item };
  for (const [name, { Action, Value }] of Object.entries(updates)) {
    if (Action === 'DELETE') delete result[name];
    else result[name] = Action === 'ADD' ? sum(result[name], Value!) : structuredClone(Value!);
  }
  return result;
}

function sum(before: AttributeValue | undefined, added: AttributeValue): AttributeValue.NMember {
  return { N: String(Number(before?.N ?? 0) + Number(added.N)) };
}
