import { stopIdleTimer } from '../../runtime/kafka-client.ts';
import { Broker, OffsetManager } from './internals.ts';

/** Mends what is wrong in the client and cannot be helped from outside. Once per process: it changes the client's classes. */
export function repairClient(): void {
  if (isRepaired) return;
  isRepaired = true;
  stopIdleTimer();
  tellMarkersFromKeys();
  keepPositionOutOfRange();
}

let isRepaired = false;

/**
 * The client takes every record whose key is four zero bytes (customer 0 as a 32-bit integer) for the marker that ends an aborted
 * transaction, and then shows the rest of that transaction. Such keys are hidden until it has left the aborted records out.
 */
function tellMarkersFromKeys(): void {
  const { fetch } = Broker.prototype;
  Broker.prototype.fetch = async function (query) {
    const answer = await fetch.call(this, query);
    for (const { partitions } of answer.responses) {
      for (const { abortedTransactions, messages } of partitions) {
        if (!abortedTransactions?.length) continue;
        for (const message of messages) {
          if (message.isControlRecord || message.key?.length !== 4 || message.key.readInt32BE() !== 0) continue;
          message.hiddenKey = message.key;
          message.key = null;
        }
      }
    }
    return answer;
  };
}

/**
 * When the log has no record at the offset that is fetched, the client commits "the earliest" as the group's position: the true one is
 * lost, and a whole log could be published again. Now it gives up its membership; who joins anew compares position and log.
 */
function keepPositionOutOfRange(): void {
  OffsetManager.prototype.setDefaultOffset = async ({ topic, partition }) => {
    const error = new Error(`the log of ${topic}:${partition} has no record at the position that was to be fetched`);
    throw Object.assign(error, { retriable: false });
  };
}
