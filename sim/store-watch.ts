import { partitionName } from '../consumers/ports.ts';
import { decodeFrontier, frontierType } from '../features/frontier.ts';
import { historyType } from '../features/history.ts';
import { subStateHeader } from '../features/redis/call.ts';
import { epoch, inputTopic } from './job.ts';
import type { Coordinator } from './kafka/transactions.ts';
import type { KeyspaceWatch } from './redis/keyspace.ts';
import { Violation } from './violation.ts';

export interface StoreWatchOptions {
  readonly decided: Coordinator['decided'];
  /** Whether the state follows from whole logs: then two writes of one offset say the same. */
  readonly isWhole: () => boolean;
  readonly violated: (violation: Violation) => void;
}

/** Looks at each write that a server is about to do. */
export function watchStore({ decided, isWhole, violated }: StoreWatchOptions): KeyspaceWatch {
  /** By key, partition and offset: what was stored. */
  const stored = new Map<string, Buffer>();

  function assertCommitted(partition: string, offset: number, what: string, invariant: string): void {
    const committed = decided(Number(partition.slice(partition.lastIndexOf(':') + 1))) ?? 0;
    if (offset <= committed) return;
    const message = `${what} of ${partition} reaches ${offset}, but only ${committed} is committed`;
    violated(new Violation(invariant, message));
  }

  return {
    text(key, value) {
      const at = key.indexOf(`:FENCE:`);
      if (at >= 0) assertCommitted(key.slice(at + 7), Number(value), 'the fence', 'I6');
    },
    field(key, partition, value) {
      // What is said of a log as a whole has numbers of its own.
      if (partition === 'v' || key.includes(`:${historyType}:`) || key.includes(`:${frontierType}:`)) return;
      const offset = value.readDoubleBE(0);
      assertCommitted(partition, offset, `the sub-state ${key}`, 'I6');
      const name = `${key} ${partition} ${offset}`;
      const bytes = value.subarray(subStateHeader);
      const former = stored.get(name);
      stored.set(name, bytes);
      if (former === undefined || !isWhole() || former.equals(bytes)) return;
      violated(new Violation('I2', `the sub-state ${key} of ${partition} at ${offset} was stored with two contents`));
    },
  };
}

/** A stored value for people. */
export function describeStored(key: string, value: Buffer): string {
  const offset = value.readDoubleBE(0);
  if (!key.includes(`:${frontierType}:`)) return `through ${offset}`;
  const { time, state } = decodeFrontier(value.subarray(subStateHeader));
  return `${time - epoch} ${state}`;
}

/** The partition's name in state. */
export function nameOf(partition: number): string {
  return partitionName({ stream: inputTopic, partition });
}
