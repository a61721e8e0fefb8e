import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WeirError } from '../../runtime/errors.ts';
import { freePorts } from './machine.ts';
import { makeFolder, programRunner } from './runners.ts';
import { givenService, type Service, startService } from './service.ts';

/**
 * Emulators of Kinesis and DynamoDB for tests and trials, on the loopback interface alone. They are development dependencies of
 * this package; an address in the environment (WEIR_TEST_KINESIS_URL, WEIR_TEST_DYNAMODB_URL) is taken instead of one.
 */

export interface AwsService extends Service {
  /** http://127.0.0.1:port */
  readonly url: string;
}

/** What the emulators take for a region and credentials: they check neither. */
export const emulatorEnv = {
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'local',
  AWS_SECRET_ACCESS_KEY: 'local',
} as const;

const READY_MS = 30_000;
const LOOPBACK = fileURLToPath(new URL('./loopback.ts', import.meta.url));

/** A Kinesis without streams. `restart` brings it back empty. */
export async function startKinesis(): Promise<AwsService> {
  const given = process.env.WEIR_TEST_KINESIS_URL;
  if (given) return givenAws('Kinesis', 'WEIR_TEST_KINESIS_URL', given);
  const folder = packageFolder('kinesis-local');
  const [port, tlsPort] = await freePorts(2);
  const settings = {
    KINESIS_MOCK_PLAIN_PORT: port,
    // The emulator insists on a TLS port as well.
    KINESIS_MOCK_TLS_PORT: tlsPort,
    KINESIS_MOCK_CERT_PATH: join(folder, 'server.json'),
    SHARD_LIMIT: 500,
    // By itself it waits half a second with each.
    CREATE_STREAM_DURATION: '50ms',
    REGISTER_STREAM_CONSUMER_DURATION: '1ms',
    LOG_LEVEL: 'WARN',
    AWS_REGION: emulatorEnv.AWS_REGION,
  };
  const env = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const args = [...env, process.execPath, '--import', LOOPBACK, join(folder, 'main.js')];
  return startEmulator('Kinesis', port, ['env', ...args], 'Kinesis_20131202.ListStreams');
}

/** A DynamoDB without tables. `restart` brings it back empty. */
export async function startDynamo(): Promise<AwsService> {
  const given = process.env.WEIR_TEST_DYNAMODB_URL;
  if (given) return givenAws('DynamoDB', 'WEIR_TEST_DYNAMODB_URL', given);
  const program = join(packageFolder('dynalite'), 'cli.js');
  const [port] = await freePorts(1);
  const options = ['--host', '127.0.0.1', '--port', String(port), '--createTableMs', '50', '--deleteTableMs', '50'];
  return startEmulator('DynamoDB', port, [process.execPath, program, ...options], 'DynamoDB_20120810.ListTables');
}

async function startEmulator(
  name: string,
  port: number,
  [command, ...args]: readonly string[],
  question: string,
): Promise<AwsService> {
  const files = makeFolder(name.toLowerCase());
  const url = `http://127.0.0.1:${port}`;
  const service = await startService(
    { name, code: 'BROKER', log: files.log, deadlineMs: READY_MS, ready: () => answers(url, question) },
    programRunner(command, args, files),
  );
  return Object.assign(service, { url });
}

/** True when the service answers the question, asked as the SDK would, with what the emulators take for a signature. */
async function answers(url: string, question: string): Promise<boolean> {
  const scope = `local/20260101/${emulatorEnv.AWS_REGION}/service/aws4_request`;
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': `application/x-amz-json-1.${question.startsWith('Kinesis') ? 1 : 0}`,
      'x-amz-target': question,
      'x-amz-date': '20260101T000000Z',
      authorization: `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0`,
    },
    body: '{}',
  });
  return response.ok;
}

function packageFolder(name: string): string {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch (cause) {
    const message = `the emulator ${name} is not installed: it is a development dependency; run npm install`;
    throw new WeirError('BROKER', message, { cause });
  }
}

function givenAws(name: string, variable: string, url: string): AwsService {
  return Object.assign(givenService(name, variable), { url });
}
