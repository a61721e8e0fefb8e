import type { Random } from '../../runtime/random.ts';
import { simulateEvents } from '../../simulator/event-stream.ts';
import type { SimulatedTransaction } from '../../simulator/transaction.ts';

/** A record of the input topic. */
export interface InputRecord {
  readonly key: string;
  readonly value: Buffer | null;
  /** Why it must become a dead letter; its header `spoilt` says so to whoever checks. */
  readonly spoilt?: string;
}

const lateShare = 0.02;
const spoiltShare = 0.005;
const repeatedShare = 0.005;
/** A repetition comes within so many records: long before its id is forgotten. */
const repeatedWithin = 50;

/**
 * Transactions without end, keyed by card, some of them late: with records among them that cannot be scored, and some that come a second
 * time.
 */
export function* inputRecords(seed: number, customers: number, random: Random): Generator<InputRecord, void, void> {
  const options = { seed, events: Number.POSITIVE_INFINITY, customers, start: Date.UTC(2025, 0, 1) };
  const stream = simulateEvents({ ...options, labels: false, lateShare });
  const recent: InputRecord[] = [];
  for (const event of stream.events as Generator<SimulatedTransaction, void, void>) {
    const record = { key: event.card.id, value: Buffer.from(stream.jsonLine(event as never)) };
    yield record;
    recent.push(record);
    if (recent.length > repeatedWithin) recent.shift();
    if (random.next() < repeatedShare) yield recent[random.below(recent.length)];
    if (random.next() < spoiltShare) yield spoilt(event, random);
  }
}

/** A record that no decoder may take for a transaction, with the reason that its dead letter must have. */
function spoilt(event: SimulatedTransaction, random: Random): InputRecord {
  const id = `spoilt-${event.id}`;
  const text = (change: object) => Buffer.from(JSON.stringify({ ...event, id, ...change }));
  const [reason, value] = [
    ['not-json', text({}).subarray(0, 40)],
    ['not-json', Buffer.from([0x7b, 0xff, 0xfe, 0x00, 0x7d])],
    ['missing-field', text({ amount: undefined })],
    ['out-of-range', text({ amount: '-5.00' })],
    ['wrong-type', text({ ts: 'yesterday' })],
    ['unknown-kind', text({ type: 'mystery' })],
    ['no-value', null],
  ][random.below(7)] as [string, Buffer | null];
  return { key: event.card.id, value, spoilt: reason };
}
