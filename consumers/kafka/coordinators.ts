import { isRefusal, protocolType } from './faults.ts';
import { Broker, Cluster } from './internals.ts';

/** Of the two kinds of coordinators, that of transactions; only transactional producers ask for it. */
const ofTransactions = 1;
const steps = ['addPartitionsToTxn', 'addOffsetsToTxn', 'txnOffsetCommit', 'endTxn'] as const;

let isInstalled = false;
/** How often a step of a transaction has failed. */
let failures = 0;

/**
 * Lets transactional producers remember who coordinates their transactions and their group: the client asks for it four times in
 * each transaction, which is a third of its duration. When any step of any transaction fails, but for having to wait for
 * the one before, all ask again. And lets everybody know when the brokers refuse to tell.
 */
export function installCoordinatorLookup(): void {
  if (isInstalled) return;
  isInstalled = true;
  countFailures();
  passRefusalsOn();
  const { findGroupCoordinatorMetadata } = Cluster.prototype;
  /** By cluster, of which each producer has its own. */
  const remembered = new WeakMap<
    object,
    { readonly failures: number; readonly answers: Map<string, Promise<object>> }
  >();
  Cluster.prototype.findGroupCoordinatorMetadata = async function (query) {
    let known = remembered.get(this);
    if (known === undefined && query.coordinatorType !== ofTransactions) {
      return findGroupCoordinatorMetadata.call(this, query);
    }
    if (known?.failures !== failures) {
      known = { failures, answers: new Map() };
      remembered.set(this, known);
    }
    const { answers } = known;
    const key = `${query.coordinatorType} ${query.groupId}`;
    const answer = answers.get(key) ?? findGroupCoordinatorMetadata.call(this, query);
    answers.set(key, answer);
    return answer.catch((error: unknown) => {
      answers.delete(key);
      throw error;
    });
  };
}

function countFailures(): void {
  for (const step of steps) {
    const send = Broker.prototype[step];
    Broker.prototype[step] = async function (request) {
      try {
        return await send.call(this, request);
      } catch (error) {
        if (protocolType(error) !== 'CONCURRENT_TRANSACTIONS') failures++;
        throw error;
      }
    };
  }
}

/** The client asks each broker, and only says that it found no coordinator when all of them have refused to tell. */
function passRefusalsOn(): void {
  const refusals = new Map<string, unknown>();
  const { findGroupCoordinator } = Broker.prototype;
  Broker.prototype.findGroupCoordinator = async function (query) {
    const key = `${query.coordinatorType} ${query.groupId}`;
    refusals.delete(key);
    try {
      return await findGroupCoordinator.call(this, query);
    } catch (error) {
      if (isRefusal(error)) refusals.set(key, error);
      throw error;
    }
  };
  const { findGroupCoordinatorMetadata } = Cluster.prototype;
  Cluster.prototype.findGroupCoordinatorMetadata = async function (query) {
    try {
      return await findGroupCoordinatorMetadata.call(this, query);
    } catch (error) {
      throw refusals.get(`${query.coordinatorType} ${query.groupId}`) ?? error;
    }
  };
}
