import type { Admin } from 'kafkajs';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { protocolType } from './faults.ts';
import { askForCarriedOut, unstableOffset } from './stable-offsets.ts';

/** The group's coordinator is being elected or still reads its log; the client repeats nothing of this kind. */
const passing = new Set(['GROUP_LOAD_IN_PROGRESS', 'GROUP_COORDINATOR_NOT_AVAILABLE', 'NOT_COORDINATOR_FOR_GROUP']);

const firstWaitMs = 10;
const longestWaitMs = 500;
/** How long to wait for a coordinator or for a transaction to settle. */
const patienceMs = 20_000;
/** After this it is looked into whether the transaction hangs and is one of this process. */
const shortPatienceMs = 2_000;

/**
 * The group's committed offset of one partition, when no transaction can change it any more; undefined when it has none.
 * @param settle asked once when a transaction stays unsettled: to end what hangs of this process's own.
 * @throws WeirError BROKER when a transaction stays unsettled; else what the client or `settle` throws.
 */
export async function committedOffset(
  admin: Admin,
  clock: Clock,
  group: string,
  topic: string,
  partition: number,
  settle: () => Promise<void> = async () => {},
): Promise<number | undefined> {
  const backoff = createBackoff(firstWaitMs, longestWaitMs);
  let settled: Promise<void> | undefined;
  for (let waited = 0; ; ) {
    const ask = () => fetchOffset(admin, group, topic, partition, waited < patienceMs);
    const answer = await ask();
    if (typeof answer === 'number') return answer >= 0 ? answer : undefined;
    if (answer === 'unstable' && waited >= patienceMs) throw unsettled(group, topic, partition);
    if (answer === 'unstable' && waited >= shortPatienceMs) {
      settled ??= settle();
      await settled;
    }
    const waitMs = backoff.next();
    await clock.sleep(waitMs);
    waited += waitMs;
  }
}

/**
 * The group's committed offset of each partition that has one, as far as transactions are carried out by now: each may be committed
 * further, never less far.
 */
export async function carriedOutOffsets(
  admin: Admin,
  clock: Clock,
  group: string,
  topic: string,
): Promise<Map<number, number>> {
  const positions = await carriedOutPositions(admin, clock, group, topic);
  return new Map([...positions].map(([partition, { offset }]) => [partition, offset]));
}

/** A position and what is kept with it; empty for nothing. */
export interface MarkedPosition {
  readonly offset: number;
  readonly mark: string;
}

/** The same with what is kept with them. */
export async function carriedOutPositions(
  admin: Admin,
  clock: Clock,
  group: string,
  topic: string,
): Promise<Map<number, MarkedPosition>> {
  const [{ partitions }] = await whenLoaded(clock, () =>
    askForCarriedOut(() => admin.fetchOffsets({ groupId: group, topics: [topic] })),
  );
  const positions = partitions.map(({ partition, offset, metadata }) => {
    return [partition, { offset: Number(offset), mark: metadata ?? '' }] as const;
  });
  return new Map(positions.filter(([, { offset }]) => offset >= 0));
}

/** Asks again while a group's coordinator is being elected or still reads its log. */
export async function whenLoaded<T>(clock: Clock, ask: () => Promise<T>): Promise<T> {
  const backoff = createBackoff(firstWaitMs, longestWaitMs);
  for (let waited = 0; ; ) {
    try {
      return await ask();
    } catch (error) {
      if (waited >= patienceMs || !passing.has(protocolType(error) ?? '')) throw error;
    }
    const waitMs = backoff.next();
    await clock.sleep(waitMs);
    waited += waitMs;
  }
}

async function fetchOffset(
  admin: Admin,
  group: string,
  topic: string,
  partition: number,
  isPatient: boolean,
): Promise<number | 'unstable' | 'unavailable'> {
  try {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    const offset = partitions.find((entry) => entry.partition === partition)?.offset ?? '-1';
    return offset === unstableOffset ? 'unstable' : Number(offset);
  } catch (error) {
    if (isPatient && passing.has(protocolType(error) ?? '')) return 'unavailable';
    throw error;
  }
}

/** The position is in a transaction that hangs. */
export function unsettled(group: string, topic: string, partition: number): WeirError {
  return new WeirError(
    'BROKER',
    `the position of group ${group} in ${topic}:${partition} is in a transaction that is neither committed nor aborted; if this ` +
      'lasts, a broker that died has left it hanging, and it has to be ended by hand: see "A transaction that hangs" in docs/operations.md',
  );
}
