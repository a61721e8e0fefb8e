import { CreateStreamCommand, KinesisClient, waitUntilStreamExists } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Argument, Command } from 'commander';
import { systemClock } from '../../runtime/clock.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { stopSignal } from '../../runtime/stop-signal.ts';
import { emulatorEnv, startDynamo, startKinesis } from './aws.ts';
import { startRedisCluster } from './redis-cluster.ts';
import { startRedisReplica } from './redis-replica.ts';
import { startKafka, startRedis } from './start.ts';

/** What examples/kafka and examples/handbook/kafka.yaml read and write, as docker-compose.yml makes them. */
const exampleTopics = ['transactions', 'risk.scored', 'risk.dead-letters'];
const exampleStreams = ['transactions', 'risk-scored', 'risk-dead-letters'];

/** `npm run services`: real services for as long as the command runs. */

const kinds = ['redis', 'redis-replica', 'redis-cluster', 'kafka', 'kinesis'] as const;
type Kind = (typeof kinds)[number];

/** What is up, and the environment to use it by. */
interface Started {
  stop(): Promise<void>;
  readonly env: Record<string, string>;
}

const EXAMPLES = `
Each service gets a free port and a data folder of its own; both go when the command ends (Ctrl-C or SIGTERM).
Kafka has the topics of the examples, with 4 partitions each: transactions, risk.scored, risk.dead-letters.
Kinesis is an emulator with the streams of the examples, with 4 shards each, and comes with one of DynamoDB; the variables are the AWS SDKs' own.
Redis and Kafka are looked for in this order: an address in WEIR_TEST_REDIS_URL or WEIR_TEST_KAFKA_BROKERS, programs
on this machine (redis-server; Java 17 with Maven), a Docker engine, Debian packages when they may be installed. The
emulators are development dependencies of this package, unless WEIR_TEST_KINESIS_URL and WEIR_TEST_DYNAMODB_URL name others.

Examples:
  npm run services                    Redis and Kafka
  npm run services -- redis           Redis alone
  npm run services -- kafka --json    Kafka alone; one JSON line instead of export lines
  npm run services -- redis-replica   a primary and a replica; REDIS_URL leads to the primary
  npm run services -- redis-cluster   a cluster of three, for state.redis.cluster
  npm run services -- redis kinesis   Redis, Kinesis and DynamoDB`;

async function main(): Promise<void> {
  const command = new Command('services')
    .description('Starts Redis, Kafka or Kinesis without Docker and prints the environment to use.')
    .addArgument(new Argument('[services...]', 'what to start; redis and kafka when nothing is named').choices(kinds))
    .option('--json', 'print one JSON line')
    .addHelpText('after', EXAMPLES)
    .parse();
  const named = command.args.length > 0 ? (command.args as Kind[]) : (['redis', 'kafka'] as const);
  const started = await Promise.all([...new Set(named)].map((kind) => starters[kind]()));
  const env = Object.assign({}, ...started.map(({ env }) => env)) as Record<string, string>;
  // From here a signal ends the services in order; before, it ends this process and they go with it.
  const told = signalled();
  print(env, command.opts<{ json?: boolean }>().json === true);
  await told;
  await Promise.all(started.map(({ stop }) => stop()));
}

const starters: Record<Kind, () => Promise<Started>> = {
  async redis() {
    const { url, stop } = await startRedis();
    return { stop, env: { REDIS_URL: url } };
  },
  async 'redis-replica'() {
    const { url, primary, replica, stop } = await startRedisReplica();
    return { stop, env: { REDIS_URL: url, REDIS_PRIMARY_URL: primary.url, REDIS_REPLICA_URL: replica.url } };
  },
  async 'redis-cluster'() {
    const { addresses, stop } = await startRedisCluster();
    return { stop, env: { REDIS_CLUSTER: addresses.join(',') } };
  },
  async kafka() {
    const { brokers, pid, stop } = await startKafka();
    // A broker that somebody else runs is left as it is.
    if (pid > 0) await createTopics(brokers);
    return { stop, env: { KAFKA_BROKERS: brokers.join(',') } };
  },
  kinesis: startAws,
};

async function startAws(): Promise<Started> {
  const emulators = await Promise.all([startKinesis(), startDynamo()]);
  const [kinesis, dynamo] = emulators;
  if (kinesis.pid > 0) await createStreams(kinesis.url);
  const env = { AWS_ENDPOINT_URL_KINESIS: kinesis.url, AWS_ENDPOINT_URL_DYNAMODB: dynamo.url, ...emulatorEnv };
  const stop = async () => {
    await Promise.all(emulators.map((emulator) => emulator.stop()));
  };
  return { stop, env };
}

async function createStreams(endpoint: string): Promise<void> {
  const credentials = {
    accessKeyId: emulatorEnv.AWS_ACCESS_KEY_ID,
    secretAccessKey: emulatorEnv.AWS_SECRET_ACCESS_KEY,
  };
  const requestHandler = new NodeHttpHandler();
  const client = new KinesisClient({ endpoint, region: emulatorEnv.AWS_REGION, credentials, requestHandler });
  try {
    for (const StreamName of exampleStreams) {
      await client.send(new CreateStreamCommand({ StreamName, ShardCount: 4 }));
      await waitUntilStreamExists({ client, maxWaitTime: 30, minDelay: 1 }, { StreamName });
    }
  } finally {
    client.destroy();
  }
}

async function createTopics(brokers: readonly string[]): Promise<void> {
  const admin = plainKafka({ brokers: [...brokers] }).admin();
  await admin.connect();
  try {
    await admin.createTopics({
      topics: exampleTopics.map((topic) => ({ topic, numPartitions: 4, replicationFactor: 1 })),
      waitForLeaders: true,
    });
  } finally {
    await admin.disconnect();
  }
}

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    // A signal handler alone does not keep the process up when the services are somebody else's.
    const awake = setInterval(() => {}, 1 << 30);
    const end = () => {
      clearInterval(awake);
      resolve();
    };
    stopSignal(systemClock).addEventListener('abort', end, { once: true });
  });
}

function print(env: Record<string, string>, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(env));
    return;
  }
  for (const [name, value] of Object.entries(env)) console.log(`export ${name}=${value}`);
  console.error('Ready. Ctrl-C ends the services and removes their data.');
}

try {
  await main();
} catch (error) {
  console.error(`services: ${error instanceof WeirError ? error.message : describeError(error)}`);
  process.exit(1);
}
