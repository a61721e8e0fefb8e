import { csvHeader, type SimulatedTransaction } from './transaction.ts';
import type { Location } from './whereabouts.ts';

export type LabelType = 'refund' | 'chargeback' | 'fraud_report';

/**
 * An event of a stream with labels: an authorization with more about it, or what is said of an earlier one, which has the entities of
 * that one and no outcome or truth of its own.
 */
export interface LabelledEvent
  extends Omit<SimulatedTransaction, 'type' | 'outcome' | 'entry' | 'fraud' | 'fraud_kind'> {
  type: 'authorization' | LabelType;
  /** Id of the transaction that a label is about. */
  refers_to?: string;
  /** Only online. */
  email?: string;
  /** Of the terminal; online, of the device. */
  location?: Location;
  entry?: SimulatedTransaction['entry'];
  /** blocked: by the merchant's own rules, so that the bank was never asked. */
  outcome?: SimulatedTransaction['outcome'] | 'blocked';
  fraud?: boolean;
  fraud_kind?: SimulatedTransaction['fraud_kind'];
}

export function labelledJsonLine(event: LabelledEvent): string {
  return JSON.stringify(event);
}

export const labelledCsvHeader = `${csvHeader},email,latitude,longitude,refers_to`;

/** One row under `labelledCsvHeader`; what an event lacks is empty, and no simulated value needs quoting. */
export function labelledCsvLine(event: LabelledEvent): string {
  const { card, account, terminal, device, location } = event;
  return [
    ...[event.id, event.ts, event.type, card.id, card.bin, card.country],
    ...[account.id, account.email_domain, account.age_days, terminal.id, terminal.mcc, terminal.country],
    ...[
      device?.id,
      device?.ip,
      event.amount,
      event.currency,
      event.entry,
      event.outcome,
      event.fraud,
      event.fraud_kind,
    ],
    ...[event.email, location?.latitude, location?.longitude, event.refers_to],
  ].join(',');
}
