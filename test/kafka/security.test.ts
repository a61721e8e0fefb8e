import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, type Admin, ResourcePatternTypes } from 'kafkajs';
import { createClient } from '../../consumers/kafka/client.ts';
import { createKafkaSource } from '../../consumers/kafka/source.ts';
import { type KafkaService, startKafka } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { event } from '../contract/sink.ts';
import { drain, firstOwnership } from '../contract/source.ts';
import { sinkFor, sourceConfig } from './cluster.ts';

let service: KafkaService;
let admin: Admin;
let folder: string;
let topics = 0;

/** A broker with one listener of each kind; the plain one belongs to the test itself, which may do everything. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-security-'));
  makeCertificates();
  service = await startKafka({
    listeners: ['SASL_PLAINTEXT', 'SASL_SSL', 'SSL'],
    settings: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': 'User:ANONYMOUS;User:alice;User:carol',
      'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
      ...login('sasl_plaintext'),
      ...login('sasl_ssl'),
      ...identity('sasl_ssl'),
      ...identity('ssl'),
      'listener.name.ssl.ssl.client.auth': 'required',
      'listener.name.ssl.ssl.truststore.type': 'PEM',
      'listener.name.ssl.ssl.truststore.certificates': read('client.pem'),
      'listener.name.ssl.ssl.principal.mapping.rules': 'RULE:^CN=(.*)$/$1/',
    },
  });
  for (const mechanism of ['SCRAM-SHA-256', 'SCRAM-SHA-512']) {
    await service.tool('kafka.admin.ConfigCommand', [
      ...['--bootstrap-server', service.brokers[0], '--alter', '--entity-type', 'users', '--entity-name', 'carol'],
      ...['--add-config', `${mechanism}=[password=carol-secret]`],
    ]);
  }
  admin = createClient(sourceConfig([...service.brokers], 'none')).admin();
  await admin.connect();
});

afterAll(async () => {
  await admin?.disconnect();
  await service?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const path = (name: string) => join(folder, name);
const read = (name: string) => readFileSync(path(name), 'utf8');

/** A self-signed certificate for the broker and one for a client named alice. */
function makeCertificates(): void {
  for (const [name, subject] of [
    ['broker', '/CN=broker'],
    ['client', '/CN=alice'],
  ]) {
    const files = ['-keyout', path(`${name}.key`), '-out', path(`${name}.pem`)];
    const names = ['-subj', subject, '-addext', 'subjectAltName=DNS:broker.test,IP:127.0.0.1'];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...files, ...names], {
      stdio: 'ignore',
    });
  }
}

function login(listener: string): Record<string, string> {
  const at = `listener.name.${listener}`;
  const plain = 'org.apache.kafka.common.security.plain.PlainLoginModule';
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  return {
    [`${at}.plain.sasl.jaas.config`]: `${plain} required user_alice="alice-secret" user_bob="bob-secret";`,
    [`${at}.scram-sha-256.sasl.jaas.config`]: scram,
    [`${at}.scram-sha-512.sasl.jaas.config`]: scram,
  };
}

function identity(listener: string): Record<string, string> {
  const at = `listener.name.${listener}.ssl.keystore`;
  return {
    [`${at}.type`]: 'PEM',
    [`${at}.key`]: read('broker.key'),
    [`${at}.certificate.chain`]: read('broker.pem'),
  };
}

interface Job {
  readonly input: string;
  readonly output: string;
  readonly dead: string;
}

async function makeTopics(): Promise<Job> {
  const name = `secured-${topics++}`;
  const job = { input: `${name}.in`, output: `${name}.out`, dead: `${name}.dead` };
  await admin.createTopics({ topics: Object.values(job).map((topic) => ({ topic })), waitForLeaders: true });
  const producer = createClient(sourceConfig([...service.brokers], 'none')).producer();
  await producer.connect();
  await producer.send({ topic: job.input, messages: [{ key: 'k', value: 'one' }] });
  await producer.disconnect();
  return job;
}

describe('a secured broker', () => {
  /** Reads all of the input and publishes one event, exactly once, over the listener. Leaves no member of the group behind. */
  async function run(job: Job, listener: string, security: object): Promise<(string | null)[]> {
    const config = sourceConfig([service.listeners[listener]], job.input, security);
    const clock = systemClock;
    const source = createKafkaSource(config, { maxEvents: 10, format: { type: 'json' }, clock });
    const sink = sinkFor(config, { topic: job.output, dead_letters: job.dead });
    try {
      const ownership = await firstOwnership(source, new AbortController().signal);
      const output = await sink.open(ownership);
      expect(await output.position()).toBeUndefined();
      const { values, next } = await drain(ownership, 0);
      await output.publish({ events: [event(0)], deadLetters: [] }, next);
      expect(await output.position()).toBe(next);
      return values;
    } finally {
      await sink.close();
      await source.close();
    }
  }

  const sasl = (mechanism: string, username: string, password: string) => ({ sasl: { mechanism, username, password } });

  it.each([
    ['plain', 'alice', 'alice-secret'],
    ['scram-sha-256', 'carol', 'carol-secret'],
    ['scram-sha-512', 'carol', 'carol-secret'],
  ])('is used with a password by %s', async (mechanism, username, password) => {
    expect(await run(await makeTopics(), 'SASL_PLAINTEXT', sasl(mechanism, username, password))).toEqual(['one']);
  });

  it.each([
    ['plain', 'alice'],
    ['scram-sha-256', 'carol'],
    ['scram-sha-512', 'nobody'],
  ])('refuses a wrong password by %s at once, in words', async (mechanism, username) => {
    const job = await makeTopics();
    await expect(run(job, 'SASL_PLAINTEXT', sasl(mechanism, username, 'wrong'))).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/refused the login; check sasl.username and sasl.password \(connecting\)/),
    });
  });

  it('is used with a password over TLS, its authority named by a file', async () => {
    const tls = { ca: path('broker.pem') };
    const security = { tls, ...sasl('plain', 'alice', 'alice-secret') };
    expect(await run(await makeTopics(), 'SASL_SSL', security)).toEqual(['one']);
  });

  it('is used with a client certificate', async () => {
    const tls = { ca: path('broker.pem'), cert: path('client.pem'), key: path('client.key') };
    expect(await run(await makeTopics(), 'SSL', { tls })).toEqual(['one']);
  });

  it('is expected to have the name that the config says', async () => {
    const job = await makeTopics();
    const named = (servername: string) => ({
      ca: path('broker.pem'),
      cert: path('client.pem'),
      key: path('client.key'),
      servername,
    });
    expect(await run(job, 'SSL', { tls: named('broker.test') })).toEqual(['one']);
    await expect(run(job, 'SSL', { tls: named('other.test') })).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/certificate.*check tls.ca and tls.servername/),
    });
  });

  it('is not trusted without its authority, and any is when the config says so', async () => {
    const job = await makeTopics();
    const alice = sasl('plain', 'alice', 'alice-secret');
    await expect(run(job, 'SASL_SSL', { tls: true, ...alice })).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/certificate.*check tls.ca and tls.servername/),
    });
    expect(await run(job, 'SASL_SSL', { tls: { reject_unauthorized: false }, ...alice })).toEqual(['one']);
  });

  it.each([
    ['without TLS where the broker wants it', 'SSL', {}],
    ['with TLS where the broker has none', 'SASL_PLAINTEXT', { tls: { reject_unauthorized: false } }],
    ['without the client certificate that the broker wants', 'SSL', { tls: { reject_unauthorized: false } }],
  ])('cannot be reached %s, and the config is named as a cause', async (_, listener, security) => {
    await expect(run(await makeTopics(), listener, { connect_timeout_ms: 1_000, ...security })).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/cannot be reached.*check brokers, tls and sasl/),
    });
  });

  it('names what an access control list does not allow, until it does', async () => {
    const job = await makeTopics();
    const bob = sasl('plain', 'bob', 'bob-secret');
    const group = `group-${job.input}`;
    const { TOPIC, GROUP, TRANSACTIONAL_ID } = AclResourceTypes;
    const { READ, WRITE, DESCRIBE } = AclOperationTypes;
    const allow = (resourceType: AclResourceTypes, resourceName: string, ...operations: AclOperationTypes[]) =>
      admin.createAcls({
        acl: operations.map((operation) => ({
          resourceType,
          resourceName,
          resourcePatternType: ResourcePatternTypes.PREFIXED,
          principal: 'User:bob',
          host: '*',
          operation,
          permissionType: AclPermissionTypes.ALLOW,
        })),
      });
    const refused = async (pattern: RegExp) =>
      expect(run(job, 'SASL_PLAINTEXT', bob)).rejects.toMatchObject({
        code: 'BROKER',
        message: expect.stringMatching(pattern),
      });
    await refused(/does not let this user use the topic/);
    await allow(TOPIC, job.input, READ);
    await refused(/does not let this user use the consumer group/);
    await allow(GROUP, group, READ);
    await refused(/does not let this user use the topic/);
    await allow(TOPIC, job.output, WRITE);
    await allow(TOPIC, job.dead, WRITE);
    await refused(
      /does not let this user use transactions; its access control list must allow the transactional ids that begin with the group/,
    );
    await allow(TRANSACTIONAL_ID, group, WRITE, DESCRIBE);
    expect(await run(job, 'SASL_PLAINTEXT', bob)).toEqual(['one']);
  });
});
