import type { VirtualTime } from '../clock.ts';
import type { Chance } from '../random.ts';
import { ProtocolError } from './protocol-error.ts';

/** One transaction: decided by its coordinator, and carried out everywhere when the markers are written, a little later. */
export interface Transaction {
  readonly id: string;
  state: 'open' | 'committing' | 'aborting' | 'committed' | 'aborted';
  /** Offsets of the group by partition of the input, that count once it is committed. */
  readonly offsets: Map<number, Position>;
}

/** A group's offset of one partition. Of two the one that was said later counts, whichever is carried out first. */
export interface Position {
  readonly offset: number;
  /** What the group keeps with it. */
  readonly metadata: string | null;
  readonly said: number;
}

/** As the client sends it; its types lack the last. */
export interface Moved {
  readonly partition: number;
  readonly offset: string;
  readonly metadata?: string | null;
}

/** Who sends: the transactional id in the epoch that it was given. */
export interface ProducerIdentity {
  readonly id: string;
  readonly epoch: number;
}

/** A group's committed offsets, and the transactions that may move them. */
export interface Coordinator {
  /** The offset that is carried out. */
  committed(partition: number): number | undefined;
  /** What is kept with it. */
  metadata(partition: number): string | null;
  /** Moves the offset without a transaction. */
  commit(partition: number, offset: number, metadata: string | null): void;
  /** Adds an offset to the producer's transaction. */
  add(producer: ProducerIdentity, partition: number, offset: number, metadata: string | null): void;
  /** @throws ProtocolError CONCURRENT_TRANSACTIONS until the last transaction of the id is carried out; an open one is aborted for it. */
  init(id: string, timeoutMs: number): ProducerIdentity;
  /** The producer's transaction, which begins with the first thing that is added to it. */
  current(producer: ProducerIdentity): Transaction;
  end(producer: ProducerIdentity, isCommit: boolean): void;
  /** Whether a transaction that is not carried out yet has an offset of the partition. */
  isUnstable(partition: number): boolean;
  /** The offset that is decided to be the partition's, carried out or not. */
  decided(partition: number): number | undefined;
}

const isCommitted = (state: Transaction['state']) => state === 'committing' || state === 'committed';

interface Holder {
  epoch: number;
  timeoutMs: number;
  current: Transaction | undefined;
  cancelTimeout: () => void;
}

/** @param onDecided told of each commit at the moment from which it cannot be undone. */
export function createCoordinator(
  time: VirtualTime,
  chance: Chance,
  onDecided: (transaction: Transaction) => void,
): Coordinator {
  const holders = new Map<string, Holder>();
  const committed = new Map<number, Position>();
  let said = 0;
  const unsettled = new Set<Transaction>();

  function holderOf({ id, epoch }: ProducerIdentity): Holder {
    const holder = holders.get(id);
    if (holder === undefined) throw new ProtocolError('INVALID_PRODUCER_ID_MAPPING');
    if (holder.epoch !== epoch) throw new ProtocolError('INVALID_PRODUCER_EPOCH');
    return holder;
  }

  const isEnding = ({ current }: Holder) => current?.state === 'committing' || current?.state === 'aborting';

  function decide(holder: Holder, isCommit: boolean): void {
    const transaction = holder.current!;
    holder.cancelTimeout();
    transaction.state = isCommit ? 'committing' : 'aborting';
    if (isCommit) onDecided(transaction);
    time.after(mostlyShort(), () => {
      transaction.state = isCommit ? 'committed' : 'aborted';
      // The group's coordinator takes what its marker says to heart only after it has acknowledged it.
      time.after(mostlyShort(), () => {
        unsettled.delete(transaction);
        if (isCommit) for (const [partition, position] of transaction.offsets) carryOut(partition, position);
      });
    });
  }

  const mostlyShort = () => (chance.isTrue(0.05) ? chance.duration(50, 3_000) : chance.duration(0.1, 5));

  function carryOut(partition: number, position: Position): void {
    if ((committed.get(partition)?.said ?? -1) < position.said) committed.set(partition, position);
  }

  function begin(id: string, holder: Holder): Transaction {
    const transaction: Transaction = { id, state: 'open', offsets: new Map() };
    holder.current = transaction;
    unsettled.add(transaction);
    holder.cancelTimeout = time.after(holder.timeoutMs, () => {
      // Whoever was so slow is fenced as well.
      holder.epoch++;
      decide(holder, false);
    });
    return transaction;
  }

  function current(producer: ProducerIdentity): Transaction {
    const holder = holderOf(producer);
    if (isEnding(holder)) throw new ProtocolError('CONCURRENT_TRANSACTIONS');
    return holder.current?.state === 'open' ? holder.current : begin(producer.id, holder);
  }

  return {
    init(id, timeoutMs) {
      const holder = holders.get(id) ?? { epoch: -1, timeoutMs, current: undefined, cancelTimeout: () => {} };
      holders.set(id, holder);
      if (holder.current?.state === 'open') {
        holder.epoch++;
        decide(holder, false);
      }
      if (isEnding(holder)) throw new ProtocolError('CONCURRENT_TRANSACTIONS');
      holder.epoch++;
      holder.timeoutMs = timeoutMs;
      return { id, epoch: holder.epoch };
    },
    current,
    committed: (partition) => committed.get(partition)?.offset,
    metadata: (partition) => committed.get(partition)?.metadata ?? null,
    commit: (partition, offset, metadata) => carryOut(partition, { offset, metadata, said: said++ }),
    add: (producer, partition, offset, metadata) =>
      void current(producer).offsets.set(partition, { offset, metadata, said: said++ }),
    end(producer, isCommit) {
      const holder = holderOf(producer);
      if (holder.current?.state === 'open') {
        decide(holder, isCommit);
        return;
      }
      // Asked again for what is decided already.
      const states = isCommit ? ['committing', 'committed'] : ['aborting', 'aborted'];
      if (!states.includes(holder.current?.state ?? '')) throw new ProtocolError('INVALID_TXN_STATE');
    },
    isUnstable: (partition) => [...unsettled].some(({ offsets }) => offsets.has(partition)),
    decided(partition) {
      let latest = committed.get(partition);
      for (const { state, offsets } of unsettled) {
        const position = isCommitted(state) ? offsets.get(partition) : undefined;
        if (position !== undefined && position.said > (latest?.said ?? -1)) latest = position;
      }
      return latest?.offset;
    },
  };
}
