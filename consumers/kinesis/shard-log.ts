import type { Shard } from './shards.ts';

/**
 * One shard's log as Kinesis gives it, page by page. Adapters: polling.ts and fan-out.ts; tests have one in memory.
 */
export interface ShardLog {
  /** Reads from there on; where the log no longer reaches back to it, from its oldest record. */
  open(from: LogStart): ShardPages;
}

export type LogStart =
  | { readonly kind: 'beginning' }
  /** At the record with the sequence number. */
  | { readonly kind: 'at'; readonly sequence: string }
  /** At the first record that arrived then or later, milliseconds since the epoch. */
  | { readonly kind: 'since'; readonly time: number };

export interface ShardPages {
  /**
   * What comes next, as soon as there is something to say: records, or how far behind the log's end the reader is.
   * @throws WeirError CONFIG or INPUT when a person must mend it; BROKER when Kinesis fails for longer than is bearable.
   */
  next(): Promise<ShardPage>;
  /** Ends what is under way: a call of next() that waits rejects with code FENCED. */
  close(): void;
}

export interface ShardPage {
  readonly records: readonly ShardRecord[];
  /** What the log had between the records that were read before and these may have been deleted. */
  readonly isBehindGap: boolean;
  /** How long ago what comes behind these records arrived; 0 at the log's end. Milliseconds. */
  readonly millisBehind: number;
  /** Set once the shard has ended and this is its last page: the shards that follow it. */
  readonly children: readonly Shard[] | undefined;
}

/** A record as the stream has it, aggregated or not. */
export interface ShardRecord {
  readonly sequence: string;
  readonly partitionKey: string;
  readonly data: Buffer;
  /** Milliseconds since the epoch. */
  readonly arrivedAt: number;
}
