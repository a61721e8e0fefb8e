import type { HandbookRow } from '../test/support/handbook.ts';

/** A row as the JSON record that examples/handbook/kafka.yaml maps. */
export function jsonRecord(row: HandbookRow, id: string = row.transaction_id, ts: number = row.ts_ms): string {
  const amount = (row.amountMinor / 100).toFixed(2);
  return `{"transaction_id":"${id}","ts_ms":${ts},"customer_id":"${row.customer_id}","terminal_id":"${row.terminal_id}","amount":"${amount}","fraud":${row.fraud}}`;
}
