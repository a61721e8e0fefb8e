import { AsyncLocalStorage } from 'node:async_hooks';
import { Broker } from './internals.ts';
import type { TransactionEnd, TransactionPlace } from './transaction-end.ts';

/** A transaction whose records are in the logs, and whose commit was sent; it may have been answered or not. */
export interface SentCommit {
  /** Which of the producers it was. */
  readonly turn: number;
  readonly position: number;
  readonly places: readonly TransactionPlace[];
}

/** How one of them is to be ended. */
export interface Ending extends SentCommit {
  readonly isCommit: boolean;
  /** Whether some log has no end of it. */
  readonly isOpen: boolean;
}

/**
 * How transactions are to be ended that may hang, in the order in which they were sent: none is open any more for its coordinator. One that no log
 * has aborted counts: what had no commit was aborted in all of them when its id was taken over. What was sent behind one that does not
 * count does not count either.
 * @param ends by transaction and place.
 * @returns undefined where it cannot be told: parts of one have ended differently, or one counts that was sent behind one that does not.
 */
export function endingsOf(
  sent: readonly SentCommit[],
  ends: readonly (readonly TransactionEnd[])[],
): readonly Ending[] | undefined {
  const endings: Ending[] = [];
  let isCommit = true;
  for (const [index, one] of sent.entries()) {
    const found = new Set(ends[index]);
    // Of long ago: what hangs keeps its log from being deleted.
    if (found.has('unknown')) continue;
    if (found.has('aborted')) isCommit = false;
    if (!isCommit && found.has('committed')) return undefined;
    endings.push({ ...one, isCommit, isOpen: found.has('open') });
  }
  return endings;
}

const taking = new AsyncLocalStorage<readonly TransactionPlace[]>();

/** Within `work`, transactions that offsets are added to take part in the partitions as well: the client adds those alone that it sends records to. */
export function takingPart<T>(places: readonly TransactionPlace[], work: () => Promise<T>): Promise<T> {
  return taking.run(places, work);
}

let isInstalled = false;

export function installTakingPart(): void {
  if (isInstalled) return;
  isInstalled = true;
  const { addOffsetsToTxn } = Broker.prototype;
  Broker.prototype.addOffsetsToTxn = async function (request) {
    const places = taking.getStore() ?? [];
    const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, of]) => {
      return { topic, partitions: [...new Set(of.map(({ partition }) => partition))] };
    });
    if (topics.length > 0) await this.addPartitionsToTxn({ ...request, topics });
    return addOffsetsToTxn.call(this, request);
  };
}
