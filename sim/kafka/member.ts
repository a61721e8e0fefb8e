import { protocolType } from '../../consumers/kafka/faults.ts';
import type { GroupEvents, GroupMember } from '../../consumers/kafka/group-member.ts';
import type { VirtualTime } from '../clock.ts';
import { type Connection, Lost, type Network } from '../network.ts';
import type { SimulatedProcess } from '../process.ts';
import type { Chance } from '../random.ts';
import type { SimulatedBroker } from './broker.ts';
import type { Membership } from './group.ts';
import type { InputRecord, PartitionLog } from './log.ts';
import { ProtocolError } from './protocol-error.ts';

export interface MemberOptions {
  readonly time: VirtualTime;
  readonly broker: SimulatedBroker;
  readonly network: Network;
  readonly process: SimulatedProcess;
  readonly chance: Chance;
  readonly heartbeatMs: number;
  readonly maxWaitMs: number;
  /** Most records of one fetch. */
  readonly fetchRecords: number;
}

interface Fetched {
  readonly records: readonly { readonly offset: number; readonly record: InputRecord }[];
  /** First offset that was looked at, and the one behind the last. */
  readonly first: number;
  readonly next: number;
  readonly end: number;
}

interface Fetching {
  position: number | undefined;
  isPaused: boolean;
  /** Goes up with each seek: what was fetched before is stale. */
  seeks: number;
  /** The seek that is being fetched from. */
  running: number | undefined;
}

const retryMs = 100;

/** One membership of the group with its heartbeats and fetches, as consumers/kafka/group-member.ts has with the client. */
export function simulatedMember(options: MemberOptions, events: GroupEvents): GroupMember {
  const { broker, network, process, chance } = options;
  const { clock } = process;
  const control = network.connect(process);
  let membership: Membership | undefined;
  let fetches = new Map<number, Fetching>();
  let hasLeft = false;
  let end = (_fault: unknown) => {};
  const ended = new Promise<unknown>((resolve) => {
    end = resolve;
  });

  async function keepMember(): Promise<void> {
    try {
      await join(undefined);
      while (!hasLeft) {
        await clock.sleep(options.heartbeatMs);
        if (!hasLeft) await beat(membership!);
      }
    } catch (error) {
      stop();
      end(error);
    }
  }

  async function beat({ memberId, generation }: Membership): Promise<void> {
    try {
      await control.ask('heartbeat', () => broker.group.heartbeat(memberId, generation));
    } catch (error) {
      // One that is not answered is made up for by the next.
      if (error instanceof Lost) return;
      if (hasLeft) return;
      const isKnown = protocolType(error) !== 'UNKNOWN_MEMBER_ID';
      if (isKnown) events.revoked();
      await join(isKnown ? memberId : undefined);
    }
  }

  async function join(memberId: string | undefined): Promise<void> {
    let joined: Membership;
    try {
      joined = await control.ask('join', () => broker.group.join(memberId, process.name));
    } catch (error) {
      if (memberId === undefined || protocolType(error) !== 'UNKNOWN_MEMBER_ID') throw error;
      return join(undefined);
    }
    if (hasLeft) return;
    membership = joined;
    stop();
    fetches = new Map(
      joined.partitions.map((partition) => [
        partition,
        { position: undefined, isPaused: true, seeks: 0, running: undefined },
      ]),
    );
    events.assigned(joined.partitions);
  }

  /** Nothing more is fetched for what was assigned. */
  function stop(): void {
    for (const fetching of fetches.values()) fetching.position = undefined;
    fetches = new Map();
  }

  async function fetchOn(partition: number, fetching: Fetching): Promise<void> {
    const { seeks } = fetching;
    if (fetching.running === seeks) return;
    fetching.running = seeks;
    const connection = network.connect(process);
    while (fetching.position !== undefined && !fetching.isPaused) {
      const { position } = fetching;
      const answer = await fetch(connection, partition, position).catch((error: unknown) => error as Error);
      if (answer instanceof Error) {
        if (protocolType(answer) === 'OFFSET_OUT_OF_RANGE') {
          // The membership is given up, see consumers/kafka/repairs.ts: who joins anew compares position and log.
          end(answer);
          break;
        }
        await clock.sleep(retryMs);
        continue;
      }
      // It is handed over in the turn in which it arrived, unless a seek is set: then the client drops it.
      if (fetching.seeks !== seeks) return;
      if (fetching.position !== undefined) handOver(partition, fetching, position, answer);
    }
    fetching.running = undefined;
  }

  function handOver(partition: number, fetching: Fetching, position: number, answer: Fetched): void {
    const { records, first, next, end: logEnd } = answer;
    if (records.length === 0) {
      if (next === position) return;
      fetching.position = next;
      events.skipped(partition, first, next, logEnd);
      return;
    }
    const messages = records.map(({ offset, record }) => ({
      offset: String(offset),
      timestamp: String(record.timestamp),
      key: record.key,
      value: record.value,
      attributes: 0,
      size: 0,
    }));
    const batch = {
      partition,
      messages: messages as never,
      highWatermark: String(logEnd),
      fetchedOffset: String(position),
      lastOffset: () => String(next - 1),
    };
    // Now and then the client hands a batch over again, or takes it for not handed over.
    if (events.fetched(batch, false) && !chance.isTrue(0.02)) fetching.position = next;
  }

  function fetch(connection: Connection, partition: number, position: number): Promise<Fetched> {
    return connection.ask('fetch', () => {
      const log = broker.input.partitions[partition];
      if (position < log.earliest || position > log.entries.length) throw new ProtocolError('OFFSET_OUT_OF_RANGE');
      if (position < log.entries.length) return read(log, position);
      return new Promise((resolve) => {
        const wake = () => {
          cancel();
          log.waiting.delete(wake);
          resolve(read(log, position));
        };
        const cancel = options.time.after(options.maxWaitMs, wake);
        log.waiting.add(wake);
      });
    });
  }

  function read({ entries }: PartitionLog<InputRecord>, position: number): Fetched {
    // A batch of records is given whole: it may begin before what was asked for.
    const first = chance.isTrue(0.1) ? Math.max(0, position - chance.between(1, 3)) : position;
    const next = Math.min(entries.length, position + chance.between(1, options.fetchRecords));
    const records: { offset: number; record: InputRecord }[] = [];
    for (let offset = first; offset < next; offset++) {
      const record = entries[offset];
      if (record !== undefined) records.push({ offset, record });
    }
    const isEmpty = records.every(({ offset }) => offset < position);
    return { records: isEmpty ? [] : records, first, next, end: entries.length };
  }

  void keepMember();

  /** Whatever ended it, the client takes its leave. */
  async function depart(): Promise<void> {
    hasLeft = true;
    stop();
    if (membership === undefined) return;
    const { memberId } = membership;
    await control.ask('leave', () => broker.group.leave(memberId)).catch(() => undefined);
  }

  return {
    ended: ended.finally(depart),
    async seek(partition, offset) {
      await clock.sleep(0);
      const fetching = fetches.get(partition);
      if (fetching === undefined) return;
      fetching.position = offset;
      fetching.seeks++;
      fetching.isPaused = false;
      void fetchOn(partition, fetching);
    },
    pause(partition) {
      const fetching = fetches.get(partition);
      if (fetching) fetching.isPaused = true;
    },
    resume(partition) {
      const fetching = fetches.get(partition);
      if (fetching === undefined) return;
      fetching.isPaused = false;
      void fetchOn(partition, fetching);
    },
    async commit(partition, offset) {
      const { memberId, generation } = membership!;
      await control.ask('checkpoint', () => {
        broker.group.assertMember(memberId, generation);
        broker.coordinator.commit(partition, offset);
      });
    },
    async leave() {
      hasLeft = true;
      end(undefined);
    },
  };
}
