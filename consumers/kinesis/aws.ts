import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { KinesisClient } from '@aws-sdk/client-kinesis';
import { NodeHttp2Handler, NodeHttpHandler } from '@smithy/node-http-handler';
import type { KinesisSourceConfig } from './config.ts';
import { answersTo } from './faults.ts';

export type Connection = Pick<KinesisSourceConfig, 'region' | 'endpoint' | 'dynamodb_endpoint'>;

const connectMs = 2_000;
const attempts = 3;

/**
 * For the lease table. A request that hangs must fail while the leases are still held.
 * @param requestMs after which a request has failed.
 */
export function dynamoClient({ region, dynamodb_endpoint }: Connection, requestMs: number): DynamoDBClient {
  const client = new DynamoDBClient({
    region,
    endpoint: dynamodb_endpoint,
    maxAttempts: attempts,
    requestHandler: handler(requestMs),
  });
  client.middlewareStack.add(namingWhatFailed);
  return client;
}

/**
 * For all but SubscribeToShard. The SDK's own choice for Kinesis is HTTP/2 with a session per request, which costs a handshake each.
 * @param maxAttempts more than one for requests that may be carried out twice.
 */
export function kinesisClient(
  { region, endpoint }: Connection,
  requestMs: number,
  maxAttempts = attempts,
): KinesisClient {
  const client = new KinesisClient({ region, endpoint, maxAttempts, requestHandler: handler(requestMs) });
  client.middlewareStack.add(namingWhatFailed);
  return client;
}

/** For SubscribeToShard alone, whose answers last five minutes. AWS gives them over HTTP/2; a plain http:// endpoint is an emulator's. */
export function subscriptionClient({ region, endpoint }: Connection): KinesisClient {
  const { AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL } = process.env;
  const isPlain = (endpoint ?? AWS_ENDPOINT_URL_KINESIS ?? AWS_ENDPOINT_URL)?.startsWith('http://');
  const requestHandler = isPlain ? new NodeHttpHandler({ connectionTimeout: connectMs }) : new NodeHttp2Handler();
  const client = new KinesisClient({ region, endpoint, maxAttempts: 1, requestHandler });
  client.middlewareStack.add(namingWhatFailed);
  return client;
}

/** AWS does not say of every error which request it answers. */
const namingWhatFailed =
  <Args, Answer>(next: (args: Args) => Promise<Answer>, { commandName }: { readonly commandName?: string }) =>
  async (args: Args): Promise<Answer> => {
    try {
      return await next(args);
    } catch (error) {
      answersTo(error, commandName);
      throw error;
    }
  };

function handler(requestTimeout: number): NodeHttpHandler {
  return new NodeHttpHandler({
    connectionTimeout: Math.min(connectMs, requestTimeout),
    requestTimeout,
    // The one above is over once an answer has begun.
    socketTimeout: requestTimeout,
    throwOnRequestTimeout: true,
  });
}
