import {
  CreateTableCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  PutItemCommand,
} from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { dynamoClient } from '../../consumers/kinesis/aws.ts';
import { openLeaseTable } from '../../consumers/kinesis/dynamo-lease-table.ts';
import type { LeaseItem } from '../../consumers/kinesis/lease.ts';
import { type AwsService, emulatorEnv, startDynamo } from '../../infra/services/aws.ts';
import { systemClock } from '../../runtime/clock.ts';
import { memoryLeaseTable } from '../../sim/leases/memory-table.ts';
import { describeLeaseTableContract } from '../contract/lease-table.ts';
import { kclStages } from '../support/kcl.ts';

describeLeaseTableContract('memory', async () => memoryLeaseTable());

let dynamo: AwsService;
let client: DynamoDBClient;
let tables = 0;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  dynamo = await startDynamo();
  client = dynamoClient({ region: 'us-east-1', dynamodb_endpoint: dynamo.url }, 60_000);
});
afterAll(async () => {
  client.destroy();
  await dynamo.stop();
});

const newName = () => `leases-${process.pid}-${tables++}`;
const open = (table = newName()) => openLeaseTable(client, table, systemClock);

describeLeaseTableContract('dynamo', () => open());

/** A table as somebody else made it. */
async function tableOf(key: string, items: readonly LeaseItem[] = [], name = newName()): Promise<string> {
  await client.send(
    new CreateTableCommand({
      TableName: name,
      KeySchema: [{ AttributeName: key, KeyType: 'HASH' }],
      AttributeDefinitions: [{ AttributeName: key, AttributeType: 'S' }],
      BillingMode: 'PAY_PER_REQUEST',
    }),
  );
  for (const Item of items) {
    while (!(await isActive(name)));
    await client.send(new PutItemCommand({ TableName: name, Item }));
  }
  return name;
}

async function isActive(TableName: string): Promise<boolean> {
  return (await client.send(new DescribeTableCommand({ TableName }))).Table?.TableStatus === 'ACTIVE';
}

describe('opening a lease table', () => {
  it('makes it with on-demand billing, however many workers are first', async () => {
    const name = newName();
    const opened = await Promise.all([open(name), open(name), open(name)]);
    for (const table of opened) expect(await table.list()).toEqual([]);
    const { Table } = await client.send(new DescribeTableCommand({ TableName: name }));
    expect(Table).toMatchObject({
      KeySchema: [{ AttributeName: 'leaseKey', KeyType: 'HASH' }],
      BillingModeSummary: { BillingMode: 'PAY_PER_REQUEST' },
    });
  });

  it("refuses another application's table, whose items have another key", async () => {
    const name = await tableOf('orderId');
    await expect(open(name)).rejects.toMatchObject({ code: 'INPUT', message: expect.stringContaining(name) });
  });

  it('refuses a table whose items are no leases', async () => {
    const table = await open(await tableOf('leaseKey', [{ leaseKey: { S: 'a' }, price: { N: '1' } }]));
    await expect(table.list()).rejects.toThrow(/item a, which is no lease/);
  });

  it('takes a table that 2.x has written, and one that 3.x has in its first phase', async () => {
    for (const version of ['2.7.2', '3.5.1-phase1']) {
      const { items } = kclStages.find((found) => found.version === version && found.stage === '5-merge')!;
      const table = await open(await tableOf('leaseKey', items));
      expect(await table.list()).toHaveLength(items.length);
    }
  });

  it('refuses one that 3.x migrates or leads', async () => {
    for (const version of ['3.5.1-2x', '3.5.1-3x']) {
      const { items } = kclStages.find((found) => found.version === version && found.stage === '5-merge')!;
      const name = await tableOf('leaseKey', items);
      await expect(open(name)).rejects.toThrow(/Kinesis Client Library 3\.x \(CLIENT_VERSION_(UPGRADE_FROM_2X|3X)\)/);
    }
  });

  it('refuses one that 3.x before 3.5 leads, which says so in a table beside it', async () => {
    const name = await tableOf('leaseKey');
    const migration = { key: { S: 'Migration3.0' }, cv: { S: 'CLIENT_VERSION_3X' } };
    await tableOf('key', [migration], `${name}-CoordinatorState`);
    await expect(open(name)).rejects.toThrow(/Kinesis Client Library 3\.x \(CLIENT_VERSION_3X\)/);
  });

  it('takes one that has gone back to 2.x', async () => {
    const migration = {
      leaseKey: { S: 'Migration3.0' },
      cv: { S: 'CLIENT_VERSION_2X' },
      entityType: { S: 'CLIENT_VERSION_MIGRATION' },
    };
    const table = await open(await tableOf('leaseKey', [migration]));
    expect(await table.list()).toEqual([]);
  });

  it('notices a leader that comes later', async () => {
    const name = newName();
    const table = await open(name);
    const { items } = kclStages.find(({ version }) => version === '3.5.1-3x')!;
    await client.send(
      new PutItemCommand({ TableName: name, Item: items.find(({ entityType }) => entityType.S === 'LEADER') }),
    );
    await expect(table.list()).rejects.toThrow(/has a leader of the Kinesis Client Library 3\.x, worker-a/);
  });

  it('notices one of 3.x before 3.5 that comes later, when it is asked', async () => {
    const name = newName();
    const table = await open(name);
    await table.demandShareable();
    const migration = { key: { S: 'Migration3.0' }, cv: { S: 'CLIENT_VERSION_3X' } };
    await tableOf('key', [migration], `${name}-CoordinatorState`);
    expect(await table.list()).toEqual([]);
    await expect(table.demandShareable()).rejects.toMatchObject({
      code: 'INPUT',
      message: expect.stringContaining('Kinesis Client Library 3.x (CLIENT_VERSION_3X)'),
    });
  });

  it('says that DynamoDB cannot be reached', async () => {
    const nowhere = dynamoClient({ region: 'us-east-1', dynamodb_endpoint: 'http://127.0.0.1:1' }, 60_000);
    await expect(openLeaseTable(nowhere, 'leases', systemClock)).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/^DynamoDB failed while describing the lease table leases: .*ECONNREFUSED/),
    });
  });
});
