import type { VirtualTime } from '../clock.ts';
import type { Chance } from '../random.ts';
import { createGroup, type Group, type GroupOptions } from './group.ts';
import { createTopic, emptyPartition, type InputRecord, type TopicLog } from './log.ts';
import type { OutputRecord } from './records.ts';
import { type Coordinator, createCoordinator, type Transaction } from './transactions.ts';

export interface SentRecord extends OutputRecord {
  /** undefined: sent without one. */
  readonly transaction: Transaction | undefined;
}

/** All that the brokers of one cluster know. */
export interface SimulatedBroker {
  readonly input: TopicLog<InputRecord>;
  /** Output topics by name. */
  readonly outputs: ReadonlyMap<string, TopicLog<SentRecord>>;
  readonly coordinator: Coordinator;
  readonly group: Group;
  /** Gives the input more partitions; nobody is told. */
  grow(partitions: number): void;
}

export interface BrokerOptions extends Omit<GroupOptions, 'time'> {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly partitions: number;
  readonly outputs: readonly string[];
  /** Of each output topic. */
  readonly outputPartitions: number;
  readonly onDecided: (transaction: Transaction) => void;
}

export function createBroker(options: BrokerOptions): SimulatedBroker {
  const { time, chance, partitions } = options;
  const input = createTopic<InputRecord>(partitions);
  const outputs = new Map(options.outputs.map((name) => [name, createTopic<SentRecord>(options.outputPartitions)]));
  const group = createGroup(options);
  return {
    input,
    outputs,
    coordinator: createCoordinator(time, chance, options.onDecided),
    group,
    grow(count) {
      while (input.partitions.length < count) input.partitions.push(emptyPartition());
    },
  };
}

/** Whether a subscriber that reads committed records sees it. */
export function isVisible({ transaction }: SentRecord): boolean {
  return transaction === undefined || transaction.state === 'committing' || transaction.state === 'committed';
}
