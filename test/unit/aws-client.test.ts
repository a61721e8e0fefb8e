import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import { GetRecordsCommand } from '@aws-sdk/client-kinesis';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { dynamoClient, kinesisClient, subscriptionClient } from '../../consumers/kinesis/aws.ts';

/** Begins an answer and never ends it, as a connection does whose other end is gone without a word. */
let server: Server;
let endpoint: string;
const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const before = { ...process.env };

beforeEach(async () => {
  Object.assign(process.env, credentials);
  server = createServer((_, answer) => {
    answer.writeHead(200, { 'content-type': 'application/x-amz-json-1.1', 'content-length': '1000' });
    answer.write('{"Records":[');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  process.env = { ...before };
  server.closeAllConnections();
  server.close();
});

describe('a client of AWS', () => {
  it('fails when an answer of Kinesis stops in the middle', async () => {
    const client = kinesisClient({ region: 'eu-central-1', endpoint }, 50);
    const asked = client.send(new GetRecordsCommand({ ShardIterator: 'it' }));
    await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' });
    client.destroy();
  });

  it('fails when an answer of DynamoDB stops in the middle', async () => {
    const client = dynamoClient({ region: 'eu-central-1', dynamodb_endpoint: endpoint }, 50);
    const asked = client.send(new ScanCommand({ TableName: 'leases' }));
    await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' });
    client.destroy();
  });
});

describe('a client for subscriptions', () => {
  it.each([
    [{ AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }, undefined, 'http/1.1'],
    [{ AWS_ENDPOINT_URL_KINESIS: 'http://127.0.0.1:1' }, undefined, 'http/1.1'],
    [{ AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }, 'https://kinesis.test', 'h2'],
    [{}, 'http://127.0.0.1:1', 'http/1.1'],
    [{}, undefined, 'h2'],
  ])('of %j and %s speaks %s', (variables, endpoint, protocol) => {
    Object.assign(process.env, variables);
    const client = subscriptionClient({ region: 'eu-central-1', endpoint });
    expect(client.config.requestHandler.metadata).toMatchObject({ handlerProtocol: protocol });
    client.destroy();
  });
});
