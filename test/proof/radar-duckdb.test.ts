import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { compareFeatures, type DuckDb, openDuckDb, readSql } from '../support/duckdb.ts';
import { runWeir } from '../support/weir-process.ts';

const transactions = 40_000;
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

/** How many arguments stand in the name of a feature behind its aggregate. */
const argumentsOf: Readonly<Record<string, number>> = {
  ...{ count: 0, 'time-since-first': 0, distinct: 1, sum: 1, mean: 1, 'is-new': 1, ratio: 1, speed: 2 },
};

/** A feature of the config in SQL, by nothing but its name, over the pairs of each transaction and an event of the entity. */
function selected(name: string): string {
  const [, aggregate, ...rest] = name.split('.');
  const args = rest.splice(0, argumentsOf[aggregate]);
  const isLabelled = rest.at(-1) === 'at-transaction' && rest.pop() !== undefined;
  const excludesCurrent =
    (rest.at(-1) === 'exclude-current' && rest.pop() !== undefined) || /^(is-new|time)/.test(aggregate);
  const [where, window] = rest;
  const [, count, unit] = /^(\d+)([hd])$/.exec(window) ?? [];
  const conditions = [where];
  if (window !== 'all') conditions.push(`age < ${unit === 'h' ? 'hours' : 'days'}(${count})`);
  if (excludesCurrent) conditions.push('NOT is_current');
  const counted = (more = 'true') => `FILTER (${conditions.join(' AND ')} AND ${more})`;
  const [field] = args;
  switch (aggregate) {
    case 'count':
      return `count(*) ${counted()}`;
    case 'distinct':
      return `count(DISTINCT ${field}) ${counted()}`;
    case 'sum':
      return `amount(sum(minor) ${counted()})`;
    case 'mean':
      return `mean(sum(minor) ${counted()}, 100 * count(*) ${counted()})`;
    case 'is-new':
      return `is_new(any_value(${field}_now), bool_or(${field} = ${field}_now) ${counted()})`;
    case 'time-since-first':
      return `seconds(max(age) ${counted()}, 0)`;
    case 'ratio':
      return `ratio(count(*) ${counted(isLabelled ? `${field}_line <= line_now` : field)}, count(*) ${counted()})`;
    default: {
      const place = `{ 'age': age, 'latitude': latitude, 'longitude': longitude }`;
      const newest = `max_by(${place}, place(latitude, longitude) - age::HUGEINT * 1e15::HUGEINT) ${counted('latitude IS NOT NULL')}`;
      return `speed(${newest}, any_value(latitude_now), any_value(longitude_now))`;
    }
  }
}

/** A table of the features of one entity: each transaction with the events of its entity that had been applied by then. */
function entityTable(entity: string, names: readonly string[]): string {
  return `CREATE TABLE of_${entity} AS
    WITH pairs AS (
      SELECT
        now.line AS line_now, now.card_id AS card_id_now, now.device_id AS device_id_now, now.latitude AS latitude_now,
        now.longitude AS longitude_now, now.ts - other.ts AS age, other.line = now.line AS is_current, other.*
      FROM events AS now LEFT JOIN events AS other
        ON other.${entity} = now.${entity} AND other.line <= now.line AND other.ts <= now.ts
      WHERE now.charge
    )
    SELECT line_now AS line, ${names.map((name) => `${selected(name)} AS "${name}"`).join(', ')}
    FROM pairs GROUP BY line_now`;
}

describe('the features of examples/radar', () => {
  it(`are what SQL says of ${transactions} simulated transactions with labels and late events`, async () => {
    const [log, exported] = ['events.jsonl', 'features.csv'].map((name) => join(folder, name));
    const stream = [
      '--labels',
      '--late',
      '0.02',
      '--events',
      String(transactions),
      '--customers',
      '400',
      '--seed',
      '7',
    ];
    expect(await runWeir(['simulate', ...stream, '--out', log])).toMatchObject({ code: 0 });
    // The simulator delays by up to 12 hours.
    const lateness = ['--set', 'event.time.allowed_lateness_ms=86400000'];
    const config = ['--config', 'examples/radar/weir.yaml', ...lateness];
    const weir = await runWeir(['features', ...config, '--out', exported], { RADAR_DIR: folder });
    expect(weir).toMatchObject({ code: 0, stderr: expect.stringMatching(/^40000 transactions, /) });

    for (const file of ['macros', 'radar']) await db.run(readSql(new URL(`${file}.sql`, import.meta.url)), { log });
    const { names } = JSON.parse(readFileSync(`${exported}.json`, 'utf8')) as { names: string[] };
    const expression = 'card.failed_share.7d';
    const byEntity = Map.groupBy(
      names.filter((name) => name !== expression),
      (name) => name.split('.')[0],
    );
    for (const [entity, own] of byEntity) await db.run(entityTable(entity, own));
    const columns = [...byEntity.keys()].map((entity) => `of_${entity}.* EXCLUDE (line)`);
    const joins = [...byEntity.keys()].map((entity) => `JOIN of_${entity} USING (line)`);
    const charges = (where: string) => `"card.count.${where}.7d.exclude-current"`;
    await db.run(
      `CREATE TABLE wanted AS
       SELECT transaction_id, ${columns.join(', ')},
         CASE WHEN ${charges('charge')} = 0 THEN 0 ELSE 1 - ${charges('authorized')} / ${charges('charge')} END AS "${expression}"
       FROM events ${joins.join(' ')}`,
    );
    const { rows, features, mismatches, constant } = await compareFeatures(db, exported, /speed/);
    expect(features.length).toBeGreaterThan(100);
    expect({ rows, mismatches, constant }).toEqual({ rows: transactions, mismatches: {}, constant: [] });
  });
});
