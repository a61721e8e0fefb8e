export const fraudKinds = [
  'none',
  'card_testing',
  'account_takeover',
  'compromised_terminal',
  'bust_out',
  'lost_or_stolen',
] as const;
export type FraudKind = (typeof fraudKinds)[number];

export type Entry = 'chip' | 'contactless' | 'online' | 'magstripe';

/** One card authorisation as a card processor would publish it. Times are milliseconds since the epoch, UTC. */
export interface SimulatedTransaction {
  id: string;
  ts: number;
  type: 'authorization';
  card: { id: string; bin: string; country: string };
  account: { id: string; email_domain: string; age_days: number };
  terminal: { id: string; mcc: string; country: string };
  /** Only online: the shopper's device and address, all from private ranges. */
  device?: { id: string; ip: string };
  /** Decimal text with two decimals, in the card's currency. */
  amount: string;
  currency: 'EUR';
  entry: Entry;
  outcome: 'approved' | 'declined';
  fraud: boolean;
  fraud_kind: FraudKind;
}

/** The same text as JSON.stringify, without its walk over the object: no simulated value needs escaping. */
export function jsonLine(t: SimulatedTransaction): string {
  const device = t.device === undefined ? '' : `"device":{"id":"${t.device.id}","ip":"${t.device.ip}"},`;
  return (
    `{"id":"${t.id}","ts":${t.ts},"type":"${t.type}",` +
    `"card":{"id":"${t.card.id}","bin":"${t.card.bin}","country":"${t.card.country}"},` +
    `"account":{"id":"${t.account.id}","email_domain":"${t.account.email_domain}","age_days":${t.account.age_days}},` +
    `"terminal":{"id":"${t.terminal.id}","mcc":"${t.terminal.mcc}","country":"${t.terminal.country}"},${device}` +
    `"amount":"${t.amount}","currency":"${t.currency}","entry":"${t.entry}","outcome":"${t.outcome}",` +
    `"fraud":${t.fraud},"fraud_kind":"${t.fraud_kind}"}`
  );
}

export const csvHeader =
  'id,ts,type,card_id,card_bin,card_country,account_id,email_domain,age_days,terminal_id,mcc,terminal_country,' +
  'device_id,ip,amount,currency,entry,outcome,fraud,fraud_kind';

/** One row under `csvHeader`; no simulated value needs quoting. Device columns are empty when there is no device. */
export function csvLine(t: SimulatedTransaction): string {
  return (
    `${t.id},${t.ts},${t.type},${t.card.id},${t.card.bin},${t.card.country},` +
    `${t.account.id},${t.account.email_domain},${t.account.age_days},` +
    `${t.terminal.id},${t.terminal.mcc},${t.terminal.country},${t.device?.id ?? ''},${t.device?.ip ?? ''},` +
    `${t.amount},${t.currency},${t.entry},${t.outcome},${t.fraud},${t.fraud_kind}`
  );
}
