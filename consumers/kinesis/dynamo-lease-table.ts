import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteItemCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  paginateScan,
  ResourceInUseException,
  ResourceNotFoundException,
  type TableDescription,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { awsFault } from './faults.ts';
import { isLeaseItem, type LeaseItem, readLease } from './lease.ts';
import { requestOf } from './lease-change.ts';
import type { LeaseTable } from './lease-table.ts';
import { hasOwnerIndex, migrationKey, refusalOfItem, refusalOfTable, refusalOfUse } from './table-mode.ts';

const pollMs = 200;
const creationMs = 120_000;

/**
 * The lease table in DynamoDB; made, with on-demand billing, when there is none.
 * @throws WeirError INPUT when the table is of a kind that cannot be shared; CONFIG when a permission is missing.
 */
export async function openLeaseTable(client: DynamoDBClient, table: string, clock: Clock): Promise<LeaseTable> {
  const description = (await describe(client, table)) ?? (await create(client, table));
  await untilActive(client, table, description, clock);
  return shareable(client, table, description);
}

/**
 * The same for one who only looks: a table that is not there is not made.
 * @throws WeirError as openLeaseTable(); INPUT also when there is none.
 */
export async function findLeaseTable(client: DynamoDBClient, table: string): Promise<LeaseTable> {
  const description = await describe(client, table);
  if (description === undefined) {
    const advice = 'no process of the application has been started yet, or source.kinesis names another application';
    throw new WeirError('INPUT', `the lease table ${table} does not exist: ${advice}`);
  }
  return shareable(client, table, description);
}

async function shareable(client: DynamoDBClient, table: string, description: TableDescription): Promise<LeaseTable> {
  await demandShareable(client, table, description, migrationItem);
  return leaseTable(client, table);
}

/** Once more, while it is used. What the table itself has is seen with each look at it, which is paid for; what is asked here mostly costs nothing. */
async function demandStillShareable(client: DynamoDBClient, table: string): Promise<void> {
  const description = await describe(client, table);
  if (description === undefined) throw gone(table);
  await demandShareable(client, table, description, hasOwnerIndex(description) ? migrationItem : migrationItemBeside);
}

async function demandShareable(
  client: DynamoDBClient,
  table: string,
  description: TableDescription,
  migration: typeof migrationItem,
): Promise<void> {
  const refusal = refusalOfTable(description) ?? refusalOfUse(description, await migration(client, table));
  if (refusal !== undefined) throw unshareable(table, refusal);
}

function leaseTable(client: DynamoDBClient, TableName: string): LeaseTable {
  const asking = async <T>(doing: string, ask: () => Promise<T>): Promise<T> => {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof ResourceNotFoundException) throw gone(TableName);
      throw awsFault(error, 'DynamoDB', `${doing} the lease table ${TableName}`);
    }
  };
  return {
    demandShareable: () => demandStillShareable(client, TableName),
    list: (isCurrent = false) =>
      asking('reading', async () => {
        const items: LeaseItem[] = [];
        for await (const page of paginateScan({ client }, { TableName, ConsistentRead: isCurrent }))
          items.push(...(page.Items ?? []));
        for (const item of items) {
          const refusal = refusalOfItem(item);
          if (refusal !== undefined) throw unshareable(TableName, refusal);
        }
        return items.filter(isLeaseItem).map(readLease);
      }),
    read: (key) =>
      asking('reading', async () => {
        const item = await getItem(client, TableName, { leaseKey: { S: key } });
        return item && readLease(item);
      }),
    write: (change) =>
      asking('writing', async () => {
        const request = requestOf(change);
        try {
          if ('put' in request) await client.send(new PutItemCommand({ TableName, ...request.put }));
          else if ('update' in request) await client.send(new UpdateItemCommand({ TableName, ...request.update }));
          else await client.send(new DeleteItemCommand({ TableName, ...request.delete }));
          return true;
        } catch (error) {
          if (error instanceof ConditionalCheckFailedException) return false;
          throw error;
        }
      }),
  };
}

async function describe(client: DynamoDBClient, TableName: string): Promise<TableDescription | undefined> {
  try {
    return (await client.send(new DescribeTableCommand({ TableName }))).Table;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw awsFault(error, 'DynamoDB', `describing the lease table ${TableName}`);
  }
}

async function create(client: DynamoDBClient, TableName: string): Promise<TableDescription> {
  try {
    const { TableDescription } = await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [{ AttributeName: 'leaseKey', KeyType: 'HASH' }],
        AttributeDefinitions: [{ AttributeName: 'leaseKey', AttributeType: 'S' }],
        BillingMode: 'PAY_PER_REQUEST',
      }),
    );
    return TableDescription!;
  } catch (error) {
    // Another worker was first.
    const found = error instanceof ResourceInUseException ? await describe(client, TableName) : undefined;
    if (found !== undefined) return found;
    throw awsFault(error, 'DynamoDB', `creating the lease table ${TableName}`);
  }
}

async function untilActive(
  client: DynamoDBClient,
  table: string,
  description: TableDescription,
  clock: Clock,
): Promise<void> {
  const end = clock.monotonic() + creationMs;
  let status = description.TableStatus;
  // A table whose index or settings are being changed serves as before.
  while (status !== 'ACTIVE' && status !== 'UPDATING') {
    if (clock.monotonic() > end) {
      throw new WeirError('BROKER', `the lease table ${table} has been ${status} for ${creationMs / 1000} s`);
    }
    await clock.sleep(pollMs);
    status = (await describe(client, table))?.TableStatus;
  }
}

/** Where 3.x says how its workers work: since 3.5 in the lease table, before in a table beside it. */
async function migrationItem(client: DynamoDBClient, table: string): Promise<LeaseItem | undefined> {
  const item = await migrationItemIn(client, table, table, 'leaseKey');
  return item ?? (await migrationItemBeside(client, table));
}

function migrationItemBeside(client: DynamoDBClient, table: string): Promise<LeaseItem | undefined> {
  return migrationItemIn(client, table, `${table}-CoordinatorState`, 'key');
}

async function migrationItemIn(
  client: DynamoDBClient,
  table: string,
  where: string,
  key: string,
): Promise<LeaseItem | undefined> {
  try {
    return await getItem(client, where, { [key]: { S: migrationKey } });
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw awsFault(error, 'DynamoDB', `asking whether the lease table ${table} can be shared`);
  }
}

async function getItem(client: DynamoDBClient, TableName: string, Key: LeaseItem): Promise<LeaseItem | undefined> {
  const { Item } = await client.send(new GetItemCommand({ TableName, Key, ConsistentRead: true }));
  return Item;
}

function unshareable(table: string, refusal: string): WeirError {
  return new WeirError('INPUT', `the lease table ${table} ${refusal}`);
}

function gone(table: string): WeirError {
  const advice =
    'put it back from a backup; one that is made anew begins at source.kinesis.start, with a state that is empty';
  return new WeirError('INPUT', `the lease table ${table} has been deleted: ${advice}`);
}
