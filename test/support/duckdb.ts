import { readFileSync } from 'node:fs';
import { DuckDBInstance, type Json } from '@duckdb/node-api';

/** DuckDB in memory: the independent engine that features are held against. */
export interface DuckDb {
  /** Runs statements; `variables` are what getvariable() answers in them. */
  run(sql: string, variables?: Readonly<Record<string, string>>): Promise<void>;
  rows(sql: string): Promise<Record<string, Json>[]>;
  close(): void;
}

export async function openDuckDb(): Promise<DuckDb> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  return {
    async run(sql, variables = {}) {
      for (const [name, value] of Object.entries(variables)) {
        await connection.run(`SET VARIABLE ${name} = '${value.replaceAll("'", "''")}'`);
      }
      await connection.run(sql);
    },
    rows: async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson(),
    close() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

export const readSql = (file: URL): string => readFileSync(file, 'utf8');

/** How exported features compare with the table `wanted`, which holds transaction_id and a column per feature. */
export interface Comparison {
  readonly rows: number;
  readonly features: readonly string[];
  /** By feature that differs anywhere: in how many rows, and in which first. */
  readonly mismatches: Readonly<Record<string, string>>;
  /** Features with the same value everywhere: their agreement would say nothing. */
  readonly constant: readonly string[];
}

/**
 * Compares the file that `weir features` wrote as CSV, whole, with the table `wanted`: to the last bit of each double.
 * @param rounded features that only have to agree to 9 digits.
 */
export async function compareFeatures(db: DuckDb, exported: string, rounded = /^$/): Promise<Comparison> {
  const { names } = JSON.parse(readFileSync(`${exported}.json`, 'utf8')) as { names: string[] };
  const columns = [
    ...["'transaction_id': 'VARCHAR'", "'event_time': 'BIGINT'", "'label': 'VARCHAR'"],
    ...names.map((name) => `'${name}': 'DOUBLE'`),
  ];
  await db.run(
    `CREATE TABLE got AS SELECT * FROM read_csv(getvariable('exported'), header = true, columns = {${columns.join()}})`,
    { exported },
  );
  const both = (name: string) => `got."${name}" AS "got ${name}", wanted."${name}"::DOUBLE AS "wanted ${name}"`;
  await db.run(
    `CREATE TABLE pairs AS
     SELECT transaction_id, got.rowid AS line, got.rowid IS NULL OR wanted.rowid IS NULL AS is_alone, ${names.map(both)}
     FROM got FULL JOIN wanted USING (transaction_id)`,
  );
  const differs = (name: string) =>
    rounded.test(name)
      ? `coalesce(abs("got ${name}" - "wanted ${name}") > 1e-9 * greatest(1, abs("wanted ${name}")), true)`
      : `"got ${name}" IS DISTINCT FROM "wanted ${name}"`;
  const [counts] = await db.rows(
    `SELECT count(*)::INTEGER AS rows, count(*) FILTER (is_alone)::INTEGER AS alone,
       ${names.map((name) => `count(*) FILTER (${differs(name)})::INTEGER AS "${name}"`)} FROM pairs`,
  );
  const mismatches: Record<string, string> = {};
  if (counts.alone !== 0) mismatches.transaction_id = `${counts.alone} rows on one side only`;
  for (const name of names.filter((name) => counts[name] !== 0)) {
    const [first] = await db.rows(`SELECT * FROM pairs WHERE ${differs(name)} ORDER BY line LIMIT 1`);
    const { transaction_id: id, [`got ${name}`]: weir, [`wanted ${name}`]: sql } = first;
    mismatches[name] = `${counts[name]} rows, first ${id}: weir says ${weir}, SQL says ${sql}`;
  }
  const [ranges] = await db.rows(
    `SELECT ${names.map((name) => `min("${name}") = max("${name}") AS "${name}"`)} FROM got`,
  );
  const constant = names.filter((name) => ranges[name]);
  return { rows: counts.rows as number, features: names, mismatches, constant };
}
