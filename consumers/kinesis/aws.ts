import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { KinesisClient } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { KinesisSourceConfig } from './config.ts';

export type Connection = Pick<KinesisSourceConfig, 'region' | 'endpoint' | 'dynamodb_endpoint'>;

const connectMs = 2_000;
const attempts = 3;

/**
 * For the lease table. A request that hangs must fail while the leases are still held.
 * @param requestMs after which a request has failed.
 */
export function dynamoClient({ region, dynamodb_endpoint }: Connection, requestMs: number): DynamoDBClient {
  return new DynamoDBClient({
    region,
    endpoint: dynamodb_endpoint,
    maxAttempts: attempts,
    requestHandler: handler(requestMs),
  });
}

/**
 * For all but SubscribeToShard. The SDK's own choice for Kinesis is HTTP/2 with a session per request, which costs a handshake each.
 */
export function kinesisClient({ region, endpoint }: Connection, requestMs: number): KinesisClient {
  return new KinesisClient({ region, endpoint, maxAttempts: attempts, requestHandler: handler(requestMs) });
}

function handler(requestTimeout: number): NodeHttpHandler {
  return new NodeHttpHandler({
    connectionTimeout: Math.min(connectMs, requestTimeout),
    requestTimeout,
    throwOnRequestTimeout: true,
  });
}
