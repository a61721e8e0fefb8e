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
  /** By feature that differs anywhere: in how many rows, and in which first. Exact: to the last bit of each double. */
  readonly mismatches: Readonly<Record<string, string>>;
  /** Features with the same value everywhere: their agreement would say nothing. */
  readonly constant: readonly string[];
}

/** Compares the file that `weir features` wrote as CSV, whole, with the table `wanted`. */
export async function compareFeatures(db: DuckDb, exported: string): Promise<Comparison> {
  const { names } = JSON.parse(readFileSync(`${exported}.json`, 'utf8')) as { names: string[] };
  const columns = [
    ...["'transaction_id': 'VARCHAR'", "'event_time': 'BIGINT'", "'label': 'VARCHAR'"],
    ...names.map((name) => `'${name}': 'DOUBLE'`),
  ];
  await db.run(
    `CREATE TABLE got AS SELECT * FROM read_csv(getvariable('exported'), header = true, columns = {${columns.join()}})`,
    { exported },
  );
  const [{ rows, missing }] = await db.rows(
    `SELECT count(*)::INTEGER AS rows, count(*) FILTER (got.transaction_id IS NULL OR wanted.transaction_id IS NULL)::INTEGER AS missing
     FROM got FULL JOIN wanted USING (transaction_id)`,
  );
  const mismatches: Record<string, string> =
    missing === 0 ? {} : { transaction_id: `${missing} rows on one side only` };
  for (const name of names) {
    const [first] = await db.rows(
      `SELECT count(*) OVER () AS rows, transaction_id AS id, got."${name}" AS got, wanted."${name}"::DOUBLE AS wanted
       FROM got JOIN wanted USING (transaction_id) WHERE got."${name}" IS DISTINCT FROM wanted."${name}"::DOUBLE
       ORDER BY got.rowid LIMIT 1`,
    );
    if (first) {
      mismatches[name] = `${first.rows} rows, first ${first.id}: weir says ${first.got}, SQL says ${first.wanted}`;
    }
  }
  const [ranges] = await db.rows(
    `SELECT ${names.map((name) => `min("${name}") = max("${name}") AS "${name}"`)} FROM got`,
  );
  const constant = names.filter((name) => ranges[name]);
  return { rows: rows as number, features: names, mismatches, constant };
}
