import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';

/** One row of the Handbook layout: transaction_id,ts_ms,iso,customer_id,terminal_id,amount,fraud,scenario. */
export interface HandbookRow {
  readonly transaction_id: string;
  readonly ts_ms: number;
  readonly customer_id: string;
  readonly terminal_id: string;
  /** Minor units. */
  readonly amountMinor: number;
  readonly fraud: number;
  readonly line: string;
}

export const handbookHeader = 'transaction_id,ts_ms,iso,customer_id,terminal_id,amount,fraud,scenario';

/** The data set is not part of the project: HANDBOOK_CSV names it, else it is looked for beside the checkout. */
export function handbookPath(): string {
  const path =
    process.env.HANDBOOK_CSV ?? new URL('../../../shared/data/handbook-raw.csv.gz', import.meta.url).pathname;
  if (existsSync(path)) return path;
  throw new Error(
    `the Handbook transactions are not at ${path}: set HANDBOOK_CSV to a CSV (or .csv.gz) with the columns ${handbookHeader}, sorted by time`,
  );
}

export async function readHandbook(limit: number): Promise<HandbookRow[]> {
  const path = handbookPath();
  const file = createReadStream(path);
  const lines = createInterface({ input: path.endsWith('.gz') ? file.pipe(createGunzip()) : file });
  const rows: HandbookRow[] = [];
  let isHeader = true;
  for await (const line of lines) {
    if (isHeader) {
      isHeader = false;
      continue;
    }
    const [transaction_id, ts_ms, , customer_id, terminal_id, amount, fraud] = line.split(',');
    rows.push({
      transaction_id,
      ts_ms: Number(ts_ms),
      customer_id,
      terminal_id,
      // Some amounts carry the noise of binary fractions: 85.64999999999999.
      amountMinor: Math.round(Number(amount) * 100),
      fraud: Number(fraud),
      line,
    });
    if (rows.length === limit) break;
  }
  lines.close();
  file.destroy();
  return rows;
}

const dayMs = 86_400_000;

/**
 * The 15 features by their definitions, row by row, over plain lists: written without anything from the product. Rows must be in
 * time order. Keys are the product's feature names.
 */
export function bruteForceFeatures(rows: readonly HandbookRow[]): Map<string, Record<string, number>> {
  const byCustomer = new Map<string, HandbookRow[]>();
  const byTerminal = new Map<string, HandbookRow[]>();
  const answers = new Map<string, Record<string, number>>();
  for (const row of rows) {
    const customer = listOf(byCustomer, row.customer_id);
    const terminal = listOf(byTerminal, row.terminal_id);
    customer.push(row);
    terminal.push(row);
    const date = new Date(row.ts_ms);
    const features: Record<string, number> = {
      amount: row.amountMinor / 100,
      'is-weekend': date.getUTCDay() === 0 || date.getUTCDay() === 6 ? 1 : 0,
      'is-night': date.getUTCHours() <= 6 ? 1 : 0,
    };
    for (const days of [1, 7, 30]) {
      const inWindow = tail(customer, row.ts_ms - days * dayMs);
      let sum = 0;
      for (const event of inWindow) sum += event.amountMinor;
      features[`customer.count.${days}d`] = inWindow.length;
      features[`customer.mean.amount.${days}d`] = sum / (inWindow.length * 100);
      const to = row.ts_ms - 7 * dayMs;
      const delayed = tail(terminal, to - days * dayMs).filter((event) => event.ts_ms <= to);
      const frauds = delayed.filter((event) => event.fraud === 1).length;
      features[`terminal.count.${days}d.delay-7d`] = delayed.length;
      features[`terminal.ratio.fraud.${days}d.delay-7d`] = delayed.length === 0 ? 0 : frauds / delayed.length;
    }
    answers.set(row.transaction_id, features);
  }
  return answers;
}

function listOf(lists: Map<string, HandbookRow[]>, key: string): HandbookRow[] {
  let list = lists.get(key);
  if (!list) {
    list = [];
    lists.set(key, list);
  }
  return list;
}

/** The events after the given time, walking back from the newest. */
function tail(events: readonly HandbookRow[], after: number): HandbookRow[] {
  let from = events.length;
  while (from > 0 && events[from - 1].ts_ms > after) from--;
  return events.slice(from);
}

/** Compares a risk event's features with brute force; answers a sentence per difference. */
export function differences(
  id: string,
  got: Record<string, number>,
  wanted: Record<string, number>,
  prefix = '',
): string[] {
  return Object.entries(wanted)
    .filter(([name, value]) => name.startsWith(prefix) && got[name] !== value)
    .map(([name, value]) => `transaction ${id}: ${name} is ${got[name]}, brute force says ${value}`);
}
