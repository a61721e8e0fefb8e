import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { KinesisClient } from '@aws-sdk/client-kinesis';
import { faultName, isThrottled } from './faults.ts';

/** `conflict`: a condition did not hold, which is how leases are told apart from others'. */
export type RequestOutcome = 'ok' | 'throttled' | 'conflict' | 'failed';

export type OnRequest = (service: 'kinesis' | 'dynamodb', operation: string, outcome: RequestOutcome) => void;

/**
 * Tells of every request that the client sends, each try of one that the SDK tries again: what is throttled is seen nowhere else. A request that
 * was called off is not told.
 */
export function watchRequests(
  client: DynamoDBClient | KinesisClient,
  service: 'kinesis' | 'dynamodb',
  onRequest: OnRequest,
): void {
  // Both have it, with types that do not go together.
  const { middlewareStack } = client as KinesisClient;
  middlewareStack.add(
    (next, { commandName = '' }) =>
      async (args) => {
        const operation = commandName.replace(/Command$/, '');
        try {
          const answer = await next(args);
          onRequest(service, operation, 'ok');
          return answer;
        } catch (error) {
          if (faultName(error) !== 'AbortError') onRequest(service, operation, outcomeOf(error));
          throw error;
        }
      },
    // Within the SDK's own repetitions.
    { name: 'weirRequests', step: 'finalizeRequest', priority: 'low' },
  );
}

function outcomeOf(error: unknown): RequestOutcome {
  if (isThrottled(error)) return 'throttled';
  return faultName(error) === 'ConditionalCheckFailedException' ? 'conflict' : 'failed';
}
