import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { writeLines } from '../support/demo-job.ts';
import { compareFeatures, type DuckDb, openDuckDb, readSql } from '../support/duckdb.ts';
import { handbookHeader, readHandbook } from '../support/handbook.ts';
import { runWeir } from '../support/weir-process.ts';

const rows = 200_000;
const config = 'examples/handbook/weir.yaml';
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

describe('the Handbook features', () => {
  it(`are what SQL says of the first ${rows} transactions, to the last bit`, async () => {
    const [transactions, exported] = ['transactions.csv', 'features.csv'].map((name) => join(folder, name));
    const lines = (await readHandbook(rows)).map(({ line }) => line);
    await writeLines(transactions, [handbookHeader, ...lines]);
    const weir = await runWeir(['features', '--config', config, '--out', exported], { HANDBOOK_CSV: transactions });
    expect(weir).toMatchObject({ code: 0, stderr: expect.stringMatching(/^200000 transactions, 15 features each/) });

    await db.run(readSql(new URL('handbook.sql', import.meta.url)), { transactions });
    const { rows: compared, features, mismatches } = await compareFeatures(db, exported);
    expect({ compared, features: features.length, mismatches }).toEqual({
      compared: rows,
      features: 15,
      mismatches: {},
    });
  });
});
