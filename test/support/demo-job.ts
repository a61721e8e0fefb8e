import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { simulateTransactions } from '../../simulator/stream.ts';
import { jsonLine } from '../../simulator/transaction.ts';

/** Simulated transactions as JSON Lines, in the layout that examples/demo/weir.yaml maps. */
export function simulatedLines(events: number, seed = 7): string[] {
  return [...simulateTransactions({ seed, events })].map(jsonLine);
}

export async function writeLines(path: string, lines: readonly string[]): Promise<void> {
  const out = createWriteStream(path);
  out.end(`${lines.join('\n')}\n`);
  await finished(out);
}

/** The demo job in a folder of its own, reading `transactions.jsonl` there. */
export function demoJob(folder: string): {
  readonly args: string[];
  readonly env: Record<string, string>;
  readonly output: string;
} {
  return {
    args: ['run', '--config', 'examples/demo/weir.yaml', '--json', '--set', 'log.level=warn'],
    env: { WEIR_DEMO_DIR: folder },
    output: join(folder, 'risk.jsonl'),
  };
}
