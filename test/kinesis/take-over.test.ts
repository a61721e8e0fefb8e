import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { type LeaseFleet, startLeaseFleet } from '../support/lease-fleet.ts';

const failoverMs = 3_000;
const shards = 4;

let services: { kinesis: AwsService; dynamo: AwsService; redis: RedisService };
let fleet: LeaseFleet;

beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  const [kinesis, dynamo, redis] = await Promise.all([startKinesis(), startDynamo(), startRedis()]);
  services = { kinesis, dynamo, redis };
  fleet = await startLeaseFleet(services, { shards, failoverMs });
}, 120_000);

afterAll(async () => {
  await fleet?.close();
  await Promise.all(Object.values(services ?? {}).map((service) => service.stop()));
});

describe('two processes that share the shards', () => {
  it('leave the leases of one that is killed alone until they expire, and take them then', async () => {
    const [doomed] = await fleet.share(2);
    const before = await fleet.renewal(doomed);
    await fleet.end(doomed, 'SIGKILL');
    // How long it may take at the most is seen in simulated time, test/sim/leases.test.ts, where no machine is busy.
    expect(performance.now() - before).toBeGreaterThanOrEqual(failoverMs);
  });

  it('need not wait for those of one that drains: it gives them up before it ends', async () => {
    const [leaving] = await fleet.share(2);
    const { leftBehind } = await fleet.end(leaving, 'SIGTERM');
    expect(leftBehind).toBe(0);
  });

  it('hear of it, long before they would look at the table again', async () => {
    // At a failover time that makes looks come every four minutes: more than this test has.
    const patient = await startLeaseFleet(services, { shards: 2, failoverMs: 600_000, application: 'patient' });
    try {
      const [leaving] = await patient.share(2);
      const { tookMs, leftBehind } = await patient.end(leaving, 'SIGTERM');
      expect(leftBehind).toBe(0);
      expect(tookMs).toBeLessThan(60_000);
    } finally {
      await patient.close();
    }
  });
});
