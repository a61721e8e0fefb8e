import { assignSticky, type Claimant } from '../../consumers/kafka/sticky-assignment.ts';
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
  /** Gives the input more partitions; the group hears of it. */
  grow(partitions: number): void;
}

export interface BrokerOptions extends Pick<GroupOptions, 'sessionMs' | 'rebalanceMs' | 'onGeneration'> {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly partitions: number;
  readonly outputs: readonly string[];
  /** Of each output topic. */
  readonly outputPartitions: number;
  /** Whether members keep what they had where balance allows it. */
  readonly isSticky: boolean;
  readonly onDecided: (transaction: Transaction) => void;
}

export function createBroker(options: BrokerOptions): SimulatedBroker {
  const { time, chance, partitions, isSticky } = options;
  const input = createTopic<InputRecord>(partitions);
  const outputs = new Map(options.outputs.map((name) => [name, createTopic<SentRecord>(options.outputPartitions)]));
  const group = createGroup({
    ...options,
    assign(members) {
      const partitions = [...input.partitions.keys()];
      return isSticky ? assignSticky(partitions, members, new Map()) : assignInTurn(partitions, members);
    },
  });
  return {
    input,
    outputs,
    coordinator: createCoordinator(time, chance, options.onDecided),
    group,
    grow(count) {
      while (input.partitions.length < count) input.partitions.push(emptyPartition());
      group.rebalance();
    },
  };
}

/** As the client's own assigner: one after the other, whoever had what. */
function assignInTurn(partitions: readonly number[], members: readonly Claimant[]): Map<string, number[]> {
  const shares = new Map<string, number[]>(members.map(({ id }) => [id, []]));
  const ids = [...shares.keys()];
  for (const partition of partitions) shares.get(ids[partition % ids.length])?.push(partition);
  return shares;
}

/** Whether a subscriber that reads committed records sees it. */
export function isVisible({ transaction }: SentRecord): boolean {
  return transaction === undefined || transaction.state === 'committing' || transaction.state === 'committed';
}
