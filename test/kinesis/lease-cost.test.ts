import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { dynamoClient } from '../../consumers/kinesis/aws.ts';
import { type AwsService, emulatorEnv, startDynamo } from '../../infra/services/aws.ts';
import { leaseCost } from '../support/lease-cost.ts';

/** The defaults. */
const failoverMs = 10_000;
const checkpointMs = 1_500;

let service: AwsService;
let dynamo: DynamoDBClient;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  service = await startDynamo();
  dynamo = dynamoClient({ region: undefined, endpoint: undefined, dynamodb_endpoint: service.url }, 60_000);
});
afterAll(async () => {
  dynamo?.destroy();
  await service?.stop();
});

/** By the library's intervals: a renewal per third of the failover time. */
const writtenByKcl = 3_600_000 / (failoverMs / 3);

describe('what leases cost in DynamoDB', () => {
  it.each([
    [1, 1],
    [16, 4],
  ])('is less than with the library while idle: %i leases, %i workers', async (leases, workers) => {
    const { written, requests } = await leaseCost(dynamo, `idle-${leases}`, {
      leases,
      workers,
      failoverMs,
      hours: 0.05,
    });
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThan(0.9 * writtenByKcl);
    // Nothing but renewals and looks; describing the table costs nothing.
    expect(Object.keys(requests).sort()).toEqual(['DescribeTableCommand', 'ScanCommand', 'UpdateItemCommand']);
    // One look per 0.4 of the failover time and worker.
    expect((requests.ScanCommand * leases) / workers).toBeLessThanOrEqual(1.05 * (3_600_000 / (0.4 * failoverMs)));
  });

  it('is one write per checkpoint interval while busy: checkpoints are the renewals', async () => {
    const busy = { leases: 4, workers: 1, failoverMs, checkpointMs, hours: 0.05 };
    const { written } = await leaseCost(dynamo, 'busy', busy);
    expect(written).toBeGreaterThan(0.95 * (3_600_000 / checkpointMs));
    expect(written).toBeLessThan(1.05 * (3_600_000 / checkpointMs));
  });
});
