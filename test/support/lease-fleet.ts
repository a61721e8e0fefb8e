import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { dynamoClient } from '../../consumers/kinesis/aws.ts';
import { openLeaseTable } from '../../consumers/kinesis/dynamo-lease-table.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { type AwsService, emulatorEnv } from '../../infra/services/aws.ts';
import type { RedisService } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { testKinesis } from './kinesis.ts';
import { startWeir, type WeirProcess } from './weir-process.ts';

/** Processes of the Handbook job on Kinesis, watched in their lease table. */
export interface LeaseFleet {
  /** Starts processes until there are so many, and waits until the leases are shared evenly; gives those that have leases. */
  share(processes: number): Promise<readonly LeaseHolder[]>;
  /** Waits until one has renewed a lease; gives a moment before that, as performance.now() has it. */
  renewal(holder: LeaseHolder): Promise<number>;
  /** Ends one, and waits until another has all leases. */
  end(holder: LeaseHolder, signal: 'SIGKILL' | 'SIGTERM'): Promise<TakenOver>;
  close(): Promise<void>;
}

export interface LeaseHolder {
  readonly worker: string;
  readonly weir: WeirProcess;
}

export interface TakenOver {
  /** From the signal until the last lease had its new owner, milliseconds. */
  readonly tookMs: number;
  /** Leases that still had the owner when its process had ended. */
  readonly leftBehind: number;
}

export interface FleetOptions {
  readonly shards: number;
  readonly failoverMs: number;
  /** Each has its own streams and lease table. */
  readonly application?: string;
}

const lookMs = 20;

export async function startLeaseFleet(
  services: { readonly kinesis: AwsService; readonly dynamo: AwsService; readonly redis: RedisService },
  { shards, failoverMs, application = 'handbook' }: FleetOptions,
): Promise<LeaseFleet> {
  const kinesis = testKinesis(services.kinesis.url);
  const dynamo: DynamoDBClient = dynamoClient(
    { dynamodb_endpoint: services.dynamo.url, region: undefined, endpoint: undefined },
    60_000,
  );
  const streams = {
    'source.kinesis.stream': `${application}-transactions`,
    'sink.kinesis.stream': `${application}-scored`,
    'sink.kinesis.dead_letters': `${application}-dead-letters`,
  };
  for (const [key, stream] of Object.entries(streams)) {
    await kinesis.createStream(stream, key === 'source.kinesis.stream' ? shards : 1);
  }
  const table: LeaseTable = await openLeaseTable(dynamo, application, systemClock);
  let running: WeirProcess[] = [];
  let holders: LeaseHolder[] = [];

  function start(): WeirProcess {
    const settings = {
      ...streams,
      'source.kinesis.application': application,
      'source.kinesis.failover_time_ms': failoverMs,
      'metrics.port': 0,
      'log.level': 'warn',
    };
    const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    return startWeir(['run', '--config', 'examples/handbook/kinesis.yaml', ...overrides], {
      ...emulatorEnv,
      AWS_ENDPOINT_URL_KINESIS: services.kinesis.url,
      AWS_ENDPOINT_URL_DYNAMODB: services.dynamo.url,
      REDIS_URL: services.redis.url,
    });
  }

  /** How many leases each worker has; '' stands for nobody. */
  async function counts(): Promise<ReadonlyMap<string, number>> {
    const owned = new Map<string, number>();
    for (const { owner = '' } of await table.list()) owned.set(owner, (owned.get(owner) ?? 0) + 1);
    return owned;
  }

  async function until(holds: (owned: ReadonlyMap<string, number>) => boolean): Promise<ReadonlyMap<string, number>> {
    for (;;) {
      const owned = await counts();
      if (holds(owned)) return owned;
      for (const weir of running) if (weir.child.exitCode !== null) throw new Error(`weir ended: ${weir.stderr()}`);
      await systemClock.sleep(lookMs);
    }
  }

  return {
    async share(processes) {
      while (running.length < processes) {
        const weir = start();
        running.push(weir);
        const known = holders.map(({ worker }) => worker);
        const isNew = (worker: string) => worker !== '' && !known.includes(worker);
        const owned = await until((seen) => [...seen.keys()].some(isNew));
        holders.push({ worker: [...owned.keys()].find(isNew)!, weir });
      }
      const most = Math.ceil(shards / processes);
      await until((owned) => owned.size === processes && !owned.has('') && Math.max(...owned.values()) <= most);
      return [...holders];
    },
    async renewal({ worker }) {
      const counters = new Map<string, number>();
      for (let lookedAt = performance.now(); ; ) {
        const askedAt = performance.now();
        for (const { key, owner, counter } of await table.list()) {
          if (owner !== worker) continue;
          if (counter > (counters.get(key) ?? Number.POSITIVE_INFINITY)) return lookedAt;
          counters.set(key, counter);
        }
        lookedAt = askedAt;
        await systemClock.sleep(lookMs);
      }
    },
    async end(holder, signal) {
      running = running.filter((weir) => weir !== holder.weir);
      holders = holders.filter((one) => one !== holder);
      const startedAt = performance.now();
      holder.weir.kill(signal);
      const left = holder.weir.ended().then(async () => (await counts()).get(holder.worker) ?? 0);
      const others = holders.map(({ worker }) => worker);
      await until((owned) => [...owned.keys()].every((owner) => others.includes(owner)));
      const tookMs = performance.now() - startedAt;
      return { tookMs, leftBehind: await left };
    },
    async close() {
      for (const weir of running) weir.kill('SIGKILL');
      await Promise.all(running.map((weir) => weir.ended()));
      kinesis.close();
      dynamo.destroy();
    },
  };
}
