import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seededRandom } from '../../runtime/random.ts';
import { simulateTransactions } from '../../simulator/stream.ts';
import { jsonLine } from '../../simulator/transaction.ts';
import { writeLines } from '../support/demo-job.ts';
import { compareFeatures, type DuckDb, openDuckDb, readSql } from '../support/duckdb.ts';
import { runWeir } from '../support/weir-process.ts';

const events = 100_000;
const seed = 7;
let folder: string;
let db: DuckDb;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-proof-'));
  db = await openDuckDb();
});
afterAll(() => {
  db.close();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Simulated transactions as a hard log: times in whole minutes, so that many are equal and many lie on a window's edge, and one in ten
 * comes late, by less than the hour that simulated.yaml allows.
 */
function hardLog(): string[] {
  const random = seededRandom(seed);
  const arrivals = [...simulateTransactions({ seed, events })].map((transaction) => {
    transaction.ts -= transaction.ts % 60_000;
    const lateMs = random.next() < 0.1 ? Math.floor(random.next() * 3_600_000) : 0;
    return { line: jsonLine(transaction), at: transaction.ts + lateMs };
  });
  return arrivals.sort((a, b) => a.at - b.at).map(({ line }) => line);
}

describe('every aggregate', () => {
  it(`is what SQL says of ${events} simulated transactions, to the last bit`, async () => {
    const [log, exported] = ['log.jsonl', 'features.csv'].map((name) => join(folder, name));
    await writeLines(log, hardLog());
    const weir = await runWeir(['features', '--config', 'test/proof/simulated.yaml', '--out', exported], { LOG: log });
    expect(weir).toMatchObject({ code: 0, stderr: expect.stringMatching(/^100000 transactions, /) });

    await db.run(readSql(new URL('simulated.sql', import.meta.url)), { log });
    const { rows, mismatches, constant } = await compareFeatures(db, exported);
    expect({ rows, mismatches, constant }).toEqual({ rows: events, mismatches: {}, constant: [] });
  });
});
