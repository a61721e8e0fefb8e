import { rmSync } from 'node:fs';
import { WeirError } from '../../runtime/errors.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';
import { haveKafkaJars, KAFKA_VERSION, kafkaClasspath } from './kafka-jars.ts';
import { containerEnv, jvmOptions, type KafkaPorts, nodeSettings, prepareNode } from './kafka-node.ts';
import { chooseWay, freePorts, javaVersion, type Needs, run, succeeds } from './machine.ts';
import { dockerRunner, type Files, fetchImage, makeFolder, programRunner } from './runners.ts';
import { givenService, type Runner, type Service, startService } from './service.ts';

/**
 * Real Redis and Kafka for tests, benchmarks and trials. Each is looked for in this order: an address in the
 * environment (only for callers that ask for nothing special), programs on this machine, a Docker engine, Debian
 * packages when they may be installed; else the error says what to install.
 */

export interface RedisOptions {
  port?: number;
  /** Data folder; kept by `stop`. Default: an own one, removed by `stop`. */
  dir?: string;
  /** Further arguments of redis-server; they win over the default ones. */
  args?: readonly string[];
}

export interface RedisService extends Service {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

export interface KafkaOptions {
  port?: number;
  /** Data folder; kept by `stop`. Default: an own one, removed by `stop`. */
  dir?: string;
  /** Listeners beside the plain one, by the name of their protocol: SSL, SASL_PLAINTEXT, SASL_SSL. What they need goes into `settings`. */
  listeners?: readonly string[];
  /** Further settings of server.properties; they win over the default ones. */
  settings?: Readonly<Record<string, string>>;
}

export interface KafkaService extends Service {
  /** host:port */
  readonly brokers: readonly string[];
  /** host:port of each listener that was asked for. */
  readonly listeners: Readonly<Record<string, string>>;
  /** Runs a class of the distribution with arguments to its end; gives what it printed. */
  tool(className: string, args: readonly string[]): Promise<string>;
  /** The distribution's own console consumer, run to its end; gives what it printed. */
  consoleConsumer(args: readonly string[]): Promise<string>;
}

const REDIS_READY_MS = 30_000;
const KAFKA_READY_MS = 90_000;
const REDIS_IMAGE = 'redis:7';
const KAFKA_IMAGE = `apache/kafka:${KAFKA_VERSION}`;
const CONSOLE_CONSUMER = 'org.apache.kafka.tools.consumer.ConsoleConsumer';

const redisNeeds: Needs = {
  name: 'Redis',
  code: 'STORE',
  present: () => succeeds('redis-server', ['--version']),
  debianPackages: ['redis-server'],
  install: 'install redis-server 6.2 or later',
};

export const kafkaNeeds: Needs = {
  name: 'Kafka',
  code: 'BROKER',
  present: async () => (await javaVersion()) >= 17 && (haveKafkaJars() || (await succeeds('mvn', ['--version']))),
  debianPackages: ['openjdk-17-jre-headless', 'maven'],
  install: 'install Java 17 or later and Maven',
};

/** An empty Redis that never evicts and keeps nothing on disk: `restart` brings it back empty. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisService> {
  const given = process.env.WEIR_TEST_REDIS_URL;
  if (given && Object.keys(options).length === 0) return givenRedis(given);
  const way = await chooseWay(redisNeeds);
  if (way === 'docker') await fetchImage(REDIS_IMAGE);
  const port = options.port ?? (await freePorts(1))[0];
  const { folder, log, ownFolder } = makeFolder('redis', options.dir);
  const args = ['--maxmemory-policy', 'noeviction', '--save', '', '--appendonly', 'no', '--port', String(port)];
  const local = ['--bind', '127.0.0.1', '--dir', folder];
  const more = options.args ?? [];
  const runner =
    way === 'program'
      ? programRunner('redis-server', [...args, ...local, ...more], { log, ownFolder })
      : dockerRunner(
          { image: REDIS_IMAGE, ports: new Map([[port, port]]), env: {}, args: ['redis-server', ...args, ...more] },
          { log, ownFolder },
        );
  const service = await startService(
    {
      name: 'Redis',
      code: 'STORE',
      log,
      deadlineMs: REDIS_READY_MS,
      // Told from its own words, since a ping would need the caller's TLS and password.
      ready: async (output) => output.includes('Ready to accept connections'),
    },
    runner,
  );
  return Object.assign(service, { url: `redis://127.0.0.1:${port}`, host: '127.0.0.1', port });
}

/** One Kafka node (broker and controller) without topics, reachable without TLS or password on the loopback interface. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaService> {
  const given = process.env.WEIR_TEST_KAFKA_BROKERS;
  if (given && Object.keys(options).length === 0) return givenKafka(given.split(','));
  const way = await chooseWay(kafkaNeeds);
  if (way === 'docker') await fetchImage(KAFKA_IMAGE);
  const names = options.listeners ?? [];
  const [freePort, controller, ...others] = await freePorts(2 + names.length);
  const secured = new Map(names.map((name, index) => [name, others[index]]));
  const ports = { broker: options.port ?? freePort, controller, secured };
  const brokers = [`127.0.0.1:${ports.broker}`];
  const files = makeFolder('kafka', options.dir);
  const prepare = way === 'program' ? localKafka : dockerKafka;
  const { runner, tool } = await prepare(ports, options, files).catch((error: unknown) => {
    if (files.ownFolder) rmSync(files.ownFolder, { recursive: true, force: true });
    throw error;
  });
  const service = await startService(
    {
      name: 'Kafka',
      code: 'BROKER',
      log: files.log,
      deadlineMs: KAFKA_READY_MS,
      ready: () => brokerAnswers(brokers),
    },
    runner,
  );
  return Object.assign(service, {
    brokers,
    listeners: Object.fromEntries([...secured].map(([name, port]) => [name, `127.0.0.1:${port}`])),
    tool,
    consoleConsumer: consoleConsumer(tool, brokers),
  });
}

interface KafkaParts {
  runner: Runner;
  tool: KafkaService['tool'];
}

async function localKafka(ports: KafkaPorts, options: KafkaOptions, files: Files): Promise<KafkaParts> {
  const classpath = await kafkaClasspath();
  const settings = { ...nodeSettings(ports, '127.0.0.1'), ...options.settings };
  const args = await prepareNode(files.folder, classpath, settings).catch((error: unknown) => {
    throw new WeirError('BROKER', 'Kafka refuses the settings it was given', { cause: error });
  });
  const runner = programRunner('java', args, files);
  return { runner, tool: javaTool(classpath) };
}

async function dockerKafka(ports: KafkaPorts, options: KafkaOptions, files: Files): Promise<KafkaParts> {
  const env = containerEnv({ ...nodeSettings(ports, '0.0.0.0'), ...options.settings });
  const published = new Map([ports.broker, ...ports.secured.values()].map((port) => [port, port]));
  const runner = dockerRunner({ image: KAFKA_IMAGE, ports: published, env, args: [] }, files);
  const inside = ['exec', runner.name, '/opt/kafka/bin/kafka-run-class.sh'];
  return { runner, tool: (className, args) => run('docker', [...inside, className, ...args]) };
}

function javaTool(classpath: string): KafkaService['tool'] {
  return (className, args) => run('java', [...jvmOptions(), '-cp', classpath, className, ...args]);
}

function consoleConsumer(tool: KafkaService['tool'], brokers: readonly string[]): KafkaService['consoleConsumer'] {
  return (args) => tool(CONSOLE_CONSUMER, ['--bootstrap-server', brokers.join(','), ...args]);
}

function givenRedis(url: string): RedisService {
  const { hostname, port } = new URL(url);
  return Object.assign(givenService('Redis', 'WEIR_TEST_REDIS_URL'), {
    url,
    host: hostname,
    port: Number(port || 6379),
  });
}

function givenKafka(brokers: string[]): KafkaService {
  const tool: KafkaService['tool'] = async (...call) => javaTool(await kafkaClasspath())(...call);
  return Object.assign(givenService('Kafka', 'WEIR_TEST_KAFKA_BROKERS'), {
    brokers,
    listeners: {},
    tool,
    consoleConsumer: consoleConsumer(tool, brokers),
  });
}

/** True when the broker answers and has registered with the controller. */
async function brokerAnswers(brokers: string[]): Promise<boolean> {
  const kafka = plainKafka({
    brokers,
    connectionTimeout: 1000,
    requestTimeout: 2000,
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    return (await admin.describeCluster()).brokers.length > 0;
  } finally {
    await admin.disconnect();
  }
}
