import { type LabelledEvent, labelledCsvHeader, labelledCsvLine, labelledJsonLine } from './labelled-event.ts';
import { delaySome, type Placed, simulateLabelled } from './labels.ts';
import { type SimulationOptions, simulateTransactions } from './stream.ts';
import { csvHeader, csvLine, jsonLine, type SimulatedTransaction } from './transaction.ts';

export interface EventStreamOptions extends SimulationOptions {
  /** Refunds, chargebacks and fraud reports among the transactions, which are the same and carry more about them. */
  readonly labels: boolean;
  /** Share of events that arrive minutes to hours behind their own time, 0 to 1. */
  readonly lateShare: number;
}

/** What any simulated event has. */
export type SimulatedEvent = Pick<SimulatedTransaction, 'id' | 'ts' | 'card' | 'account' | 'terminal'> & {
  readonly type: LabelledEvent['type'];
  readonly fraud?: boolean;
};

/** Events in order of arrival, and how they are written. */
export interface EventStream<T extends SimulatedEvent> {
  readonly events: Generator<T, void, void>;
  readonly csvHeader: string;
  csvLine(event: T): string;
  jsonLine(event: T): string;
}

/** With neither labels nor late events these are the events of `simulateTransactions`. */
export function simulateEvents(
  options: EventStreamOptions,
): EventStream<SimulatedTransaction> | EventStream<LabelledEvent> {
  const { labels, lateShare, seed } = options;
  if (labels) {
    const events = eventsOf(delaySome(simulateLabelled(options), lateShare, seed));
    return { events, csvHeader: labelledCsvHeader, csvLine: labelledCsvLine, jsonLine: labelledJsonLine };
  }
  const transactions = simulateTransactions(options);
  const events = lateShare === 0 ? transactions : eventsOf(delaySome(inTheirTime(transactions), lateShare, seed));
  return { events, csvHeader, csvLine, jsonLine };
}

function* inTheirTime<T extends SimulatedEvent>(events: Iterable<T>): Generator<Placed<T>, void, void> {
  for (const event of events) yield { time: event.ts, event };
}

function* eventsOf<T>(placed: Iterable<Placed<T>>): Generator<T, void, void> {
  for (const { event } of placed) yield event;
}
