import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { stopIdleTimer } from '../../runtime/kafka-client.ts';
import { protocolType } from './faults.ts';
import { Broker, Connection, type ConnectionCalls, type FetchedPartition } from './internals.ts';

/** Mends what is wrong in the client and cannot be helped from outside. Once per process: it changes the client's classes. */
export function repairClient(): void {
  if (isRepaired) return;
  isRepaired = true;
  stopIdleTimer();
  hideAborted();
  waitForEarlierEnds();
  giveUpWhoSaysNothing();
  beginAnew();
}

let isRepaired = false;

/**
 * The client leaves out the records of aborted transactions in the order in which brokers tell of these, which is that of their ends: of some that
 * overlap it shows records, and so it does where it begins to read within several. And it takes every record whose key is four zero bytes (customer 0
 * as a 32-bit integer) for the marker that ends one, and then shows the rest of it. So they are found here, and told as what it never shows.
 */
function hideAborted(): void {
  const { fetch } = Broker.prototype;
  Broker.prototype.fetch = async function (query) {
    const answer = await fetch.call(this, query);
    for (const { partitions } of answer.responses) for (const partition of partitions) hideAbortedOf(partition);
    return answer;
  };
}

function hideAbortedOf(partition: FetchedPartition): void {
  const { abortedTransactions, messages } = partition;
  if (!abortedTransactions?.length) return;
  const waiting = [...abortedTransactions].sort((a, b) => Number(b.firstOffset) - Number(a.firstOffset));
  /** Producers whose transaction is one of them, at the message. */
  const aborting = new Set<string>();
  for (const message of messages) {
    while (waiting.length > 0 && Number(waiting[waiting.length - 1].firstOffset) <= Number(message.offset))
      aborting.add(waiting.pop()!.producerId);
    // Messages of the oldest formats have neither.
    const { producerId = '', inTransaction = false } = message.batchContext ?? {};
    if (message.isControlRecord) aborting.delete(producerId);
    else if (inTransaction && aborting.has(producerId)) message.isControlRecord = true;
  }
  partition.abortedTransactions = [];
}

const endWaitMs = 5;
const endAttempts = 400;

/**
 * A coordinator that is still carrying out an earlier end of the transactional id's transactions answers CONCURRENT_TRANSACTIONS: most
 * often because somebody else is taking the id over. The client repeats that for records, but not for the end of a transaction. Asked
 * again, the coordinator says what is the case: done, or fenced.
 */
function waitForEarlierEnds(): void {
  const { endTxn } = Broker.prototype;
  Broker.prototype.endTxn = async function (request) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await endTxn.call(this, request);
      } catch (error) {
        if (protocolType(error) !== 'CONCURRENT_TRANSACTIONS' || attempt === endAttempts) throw error;
        await delay(endWaitMs);
      }
    }
  };
}

const silences = new Set(['KafkaJSConnectionClosedError', 'KafkaJSRequestTimeoutError']);

/**
 * A broker that cannot be reached the client leaves for the next. Where a proxy or a load balancer stands in front of a dead one, it takes the
 * connection and closes it, or never answers: then the client asks there again and again, and each new client begins with the first of its list.
 */
function giveUpWhoSaysNothing(): void {
  const { connect } = Broker.prototype;
  Broker.prototype.connect = async function () {
    try {
      await connect.call(this);
    } catch (error) {
      if (!(error instanceof Error && silences.has(error.name))) throw error;
      throw Object.assign(new kafkajs.KafkaJSConnectionError(error.message), { broker: this.brokerAddress });
    }
  };
}

/** An answer begins with its length. */
const lengthBytes = 4;

/**
 * A connection that ends in the middle of an answer keeps the beginning of it, and takes for the rest what comes when it is made again: from then
 * on it finds no answer any more, waits for each request until that fails, and is not ended by that. And two who ask at the same time while it
 * is not there make two of it, both of whose answers it reads.
 */
function beginAnew(): void {
  const { connect } = Connection.prototype;
  const underWay = new WeakMap<ConnectionCalls, Promise<boolean>>();
  Connection.prototype.connect = function () {
    const begun = underWay.get(this);
    if (begun !== undefined) return begun;
    if (this.isConnected()) return connect.call(this);
    this.socket?.removeAllListeners('data').destroy();
    this.chunks = [];
    this.bytesBuffered = 0;
    this.bytesNeeded = lengthBytes;
    const connecting = connect.call(this).finally(() => underWay.delete(this));
    underWay.set(this, connecting);
    return connecting;
  };
}
