import { dynamoClient } from '../consumers/kinesis/aws.ts';
import { emulatorEnv, startDynamo, startKinesis } from '../infra/services/aws.ts';
import { startRedis } from '../infra/services/start.ts';
import { systemClock } from '../runtime/clock.ts';
import { leaseCost } from '../test/support/lease-cost.ts';
import { startLeaseFleet } from '../test/support/lease-fleet.ts';
import { report } from './measure.ts';

/** The defaults. */
const failoverMs = 10_000;
const checkpointMs = 1_500;
const lookMs = 0.4 * failoverMs;
const fleets = [
  [1, 1],
  [16, 4],
  [100, 20],
  [50, 50],
] as const;

/** What leases cost, and how long those of a process that ends have nobody. On emulators, with the default intervals. */
export async function benchLeases(runs: number, only: (name: string) => boolean): Promise<void> {
  Object.assign(process.env, emulatorEnv);
  if (only('leases.cost')) await benchCost();
  if (only('leases.take-over')) await benchTakingOver(runs);
}

/** Request units per lease and hour, counted over a tenth of an hour of virtual time. */
async function benchCost(): Promise<void> {
  const service = await startDynamo();
  const connection = { region: emulatorEnv.AWS_REGION, endpoint: undefined, dynamodb_endpoint: service.url };
  const dynamo = dynamoClient(connection, 5_000);
  try {
    for (const [leases, workers] of fleets) {
      for (const [kind, least] of [
        ['idle', undefined],
        ['busy', checkpointMs],
      ] as const) {
        const name = `leases.cost.${leases}-${workers}.${kind}`;
        const options = { leases, workers, failoverMs, checkpointMs: least, hours: 0.1 };
        const { written, read } = await leaseCost(dynamo, name, options);
        report(`${name}.written`, 'units/lease/h', [written]);
        report(`${name}.read`, 'units/lease/h', [read]);
      }
    }
  } finally {
    dynamo.destroy();
    await service.stop();
  }
}

/** Of two processes that share four shards one ends, by a crash or by draining: until the other has all of them. */
async function benchTakingOver(runs: number): Promise<void> {
  const [kinesis, dynamo, redis] = await Promise.all([startKinesis(), startDynamo(), startRedis()]);
  const fleet = await startLeaseFleet({ kinesis, dynamo, redis }, { shards: 4, failoverMs });
  try {
    for (const [name, signal] of [
      ['crash', 'SIGKILL'],
      ['drain', 'SIGTERM'],
    ] as const) {
      const seconds: number[] = [];
      for (let run = 0; run < runs; run++) {
        const [first] = await fleet.share(2);
        // Leases are even just after a look: the end is to come anywhere between two.
        await systemClock.sleep(((run + 0.5) / runs) * lookMs);
        seconds.push((await fleet.end(first, signal)).tookMs / 1_000);
      }
      report(`leases.take-over.${name}`, 's', seconds);
    }
  } finally {
    await fleet.close();
    await Promise.all([kinesis.stop(), dynamo.stop(), redis.stop()]);
  }
}
