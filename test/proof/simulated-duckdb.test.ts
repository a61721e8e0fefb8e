import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { seededRandom } from '../../runtime/random.ts';
import { simulateTransactions } from '../../simulator/stream.ts';
import { writeLines } from '../support/demo-job.ts';
import { compareFeatures, openDuckDb, readSql } from '../support/duckdb.ts';
import { runWeir } from '../support/weir-process.ts';

const events = 100_000;
const seed = 7;
let folder: string;
let log: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-proof-'));
  log = join(folder, 'log.jsonl');
  await writeLines(log, hardLog());
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/**
 * Simulated transactions as a hard log. Times are in whole minutes, so that many are equal and many lie on a window's edge. One in ten comes
 * late, by less than the hour that the configs allow. Two in three have a tip, and four in five of the terminals a place.
 */
function hardLog(): string[] {
  const random = seededRandom(seed);
  const degrees = (range: number) => Math.round((2 * random.next() - 1) * range * 1e5) / 1e5;
  const places = new Map<string, object>();
  const arrivals = [...simulateTransactions({ seed, events })].map((transaction) => {
    const ts = transaction.ts - (transaction.ts % 60_000);
    const tip = random.next() < 0.67 ? { tip: (random.below(500) / 100).toFixed(2) } : {};
    const { id } = transaction.terminal;
    if (!places.has(id)) {
      places.set(id, random.next() < 0.8 ? { latitude: degrees(90), longitude: degrees(180) } : {});
    }
    const lateMs = random.next() < 0.1 ? Math.floor(random.next() * 3_600_000) : 0;
    return { line: JSON.stringify({ ...transaction, ts, ...tip, ...places.get(id) }), at: ts + lateMs };
  });
  return arrivals.sort((a, b) => a.at - b.at).map(({ line }) => line);
}

/** They go through sines, exponentials and the like, whose last bits differ between mathematical libraries. */
const transcendental = /hour-deviation|speed/;

describe.each(['windows', 'values'])('the features of %s.yaml', (name) => {
  it(`are what SQL says of ${events} simulated transactions, to the last bit`, async () => {
    const exported = join(folder, `${name}.csv`);
    const config = `test/proof/${name}.yaml`;
    const weir = await runWeir(['features', '--config', config, '--out', exported], { LOG: log });
    expect(weir).toMatchObject({ code: 0, stderr: expect.stringMatching(/^100000 transactions, /) });

    const db = await openDuckDb();
    for (const file of ['macros', 'log', name]) await db.run(readSql(new URL(`${file}.sql`, import.meta.url)), { log });
    const { rows, mismatches, constant } = await compareFeatures(db, exported, transcendental);
    db.close();
    expect({ rows, mismatches, constant }).toEqual({ rows: events, mismatches: {}, constant: [] });
  });
});
