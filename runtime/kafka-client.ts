import { createRequire } from 'node:module';
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs';

/** An inner part of kafkajs 2.2.4; test/unit/kafka-client.test.ts fails when another version is installed. */
interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

let isStopped = false;

/**
 * Every connection of kafkajs wakes up each millisecond for ever, to see whether there are requests to send, by a timer of a negative time,
 * which Node.js warns of on standard error; now only when there are. Once per process: it changes the client's class.
 */
export function stopIdleTimer(): void {
  if (isStopped) return;
  isStopped = true;
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
    readonly prototype: RequestQueue;
  };
  const { scheduleCheckPendingRequests } = prototype;
  prototype.scheduleCheckPendingRequests = function () {
    if (this.pending.length > 0) scheduleCheckPendingRequests.call(this);
  };
}

/** kafkajs as it is, for all that is no job (those: consumers/kafka/client.ts); it says nothing by itself. */
export function plainKafka(config: KafkaConfig): Kafka {
  stopIdleTimer();
  return new Kafka({ logLevel: logLevel.NOTHING, ...config });
}
