import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { loadJob } from '../../consumers/load-config.ts';
import { redisKeys } from '../../features/redis/keys.ts';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { noticesTheDeadSoon, type PublishedRecord, partitions } from '../support/handbook-job.ts';
import { startProxy } from '../support/proxy.ts';
import { begun, ended, endedWell, kafkaSuite, type SuiteJob } from '../support/suite.ts';
import type { WeirProcess } from '../support/weir-process.ts';

const rowCount = 8_000;
const half = rowCount / 2;
const hourMs = 3_600_000;
const rows = await readHandbook(rowCount);
const { services, kafka, folder, createJob } = await kafkaSuite();

/** The Handbook job with features that retain something else. */
function changedConfig(): string {
  const text = readFileSync('examples/handbook/kafka.yaml', 'utf8')
    .replace(
      /^features:\n( .*\n)+/m,
      'features:\n  - { entity: customer, windows: [5h, 3d], aggregates: [count, sum(amount)] }\n',
    )
    .replace(/^model: .*$/m, 'model: { rules_only: true }')
    .replace(/^policy:\n( .*\n)+/m, 'policy: []\n');
  const path = join(folder, 'changed.yaml');
  writeFileSync(path, text);
  return path;
}

/** The changed features by their definitions. */
function changedFeatures(): Map<string, Record<string, number>> {
  const byCustomer = new Map<string, HandbookRow[]>();
  return new Map(
    rows.map((row) => {
      const events = byCustomer.get(row.customer_id) ?? [];
      byCustomer.set(row.customer_id, events);
      events.push(row);
      const features: Record<string, number> = {};
      for (const [name, hours] of Object.entries({ '5h': 5, '3d': 72 })) {
        const inWindow = events.filter(({ ts_ms }) => ts_ms > row.ts_ms - hours * hourMs);
        features[`customer.count.${name}`] = inWindow.length;
        features[`customer.sum.amount.${name}`] = inWindow.reduce((sum, { amountMinor }) => sum + amountMinor, 0) / 100;
      }
      return [row.transaction_id, features];
    }),
  );
}

function recipeOf(config: string): string {
  return loadJob(config, { overrides: [], env: {}, folder: '.' }).set.recipe;
}

/** How far the state of a recipe is stored in the partition that is furthest. */
async function furthestFence(job: string, recipe: string): Promise<number> {
  const redis = new Redis(services.redis.url);
  const keys = redisKeys({ prefix: 'weir', job, recipe, groups: 16 });
  const names = Array.from({ length: partitions }, (_, partition) => `${job}.in:${partition}`);
  const fences = names.map(async (name) => {
    const fences = Array.from({ length: 16 }, (_, group) => keys.fence(group, name));
    return Math.min(...(await redis.mget(fences)).map(Number));
  });
  const furthest = Math.max(...(await Promise.all(fences)));
  redis.disconnect();
  return furthest;
}

/** Another command over the job, with another config. */
const start = (job: SuiteJob, command: string, config: string, more: readonly string[] = []) =>
  job.start([command], ['--config', config, '--set', 'log.level=info', ...more]);

interface Backfilled {
  readonly caught_up: boolean;
  readonly partitions: readonly { partition: string; from: number | null; to: number; events: number; left: number }[];
}

async function resultOf(backfill: WeirProcess): Promise<Backfilled> {
  return JSON.parse(endedWell(await ended(backfill))) as Backfilled;
}

/** What a run says that it re-applies at its start, by partition. */
function reapplied(weir: WeirProcess): Map<number, { from: number; to: number }> {
  const lines = weir
    .stderr()
    .split('\n')
    .filter((line) => line.includes('recovering state'));
  const told = lines.map((line) => JSON.parse(line) as { partition: number; from: number; to: number });
  return new Map(told.map(({ partition, from, to }) => [partition, { from, to }]));
}

/** Transaction and feature of each that is marked as incomplete. */
function incomplete(records: readonly PublishedRecord[]): string[] {
  return records.flatMap(({ data }) =>
    Object.entries((data as { feature_state?: Record<string, string> }).feature_state ?? {})
      .filter(([, state]) => state === 'incomplete')
      .map(([name]) => `${data.transaction_id} ${name}`),
  );
}

function timeOf({ data }: PublishedRecord): number {
  return rows.find(({ transaction_id }) => transaction_id === data.transaction_id)!.ts_ms;
}

function partitionsOf(records: readonly PublishedRecord[]): PublishedRecord[][] {
  return Array.from({ length: partitions }, (_, partition) =>
    records.filter((record) => record.partition === partition),
  );
}

/** Ends the old process, starts the new one, and expects that nothing is missing, twice, or wrong. */
async function switchOver(job: SuiteJob, old: WeirProcess, produced: number): Promise<WeirProcess> {
  old.kill('SIGTERM');
  expect(await old.ended()).toBe(0);
  const changed = start(job, 'run', changedConfig());
  await job.produce(rows.slice(produced));
  await job.waitForPublished(rowCount);
  changed.kill('SIGTERM');
  expect(await changed.ended()).toBe(0);
  const records = await job.published();
  expect(records).toHaveLength(rowCount);
  expect(new Set(records.map(({ data }) => data.transaction_id)).size).toBe(rowCount);
  const [before, after] = [bruteForceFeatures(rows), changedFeatures()];
  const isChanged = (features: object) => 'customer.count.5h' in features;
  const faults = records.flatMap(({ data: { transaction_id, features } }) => {
    const wanted = (isChanged(features) ? after : before).get(transaction_id)!;
    return differences(transaction_id, features, wanted, 'customer.');
  });
  expect(faults.slice(0, 5)).toEqual([]);
  const scoredByNew = records.filter(({ data }) => isChanged(data.features)).length;
  expect(scoredByNew).toBeGreaterThanOrEqual(rowCount - produced);
  expect(scoredByNew).toBeLessThan(rowCount);
  return changed;
}

describe('a backfill beside the running job', () => {
  it('builds the new state while the job scores; the switch re-applies only what has come since', async () => {
    const job = await createJob('changed');
    await job.produce(rows.slice(0, half));
    const old = start(job, 'run', 'examples/handbook/kafka.yaml');
    await job.waitForPublished(half);
    const backfill = start(job, 'backfill', changedConfig(), ['--json']);
    let produced = half;
    let hasEnded = false;
    void backfill.ended().then(() => {
      hasEnded = true;
    });
    while (!hasEnded && produced < rowCount - 1_000) {
      await job.produce(rows.slice(produced, produced + 50));
      produced += 50;
      await job.waitForPublished(produced);
    }
    const { caught_up, partitions: built } = await resultOf(backfill);
    expect(caught_up).toBe(true);
    expect(built).toHaveLength(partitions);
    expect(built.reduce((sum, { events }) => sum + events, 0)).toBeGreaterThanOrEqual(half);
    await job.produce(rows.slice(produced, produced + 100));
    produced += 100;
    await job.waitForPublished(produced);
    const changed = await switchOver(job, old, produced);
    const told = reapplied(changed);
    expect(told.size).toBeGreaterThan(0);
    for (const [partition, { from, to }] of told) {
      expect(from).toBe(built.find((of) => of.partition === `changed.in:${partition}`)!.to);
      expect(to - from).toBeLessThan(produced - half);
    }
  }, 200_000);

  it('is killed in the middle, and two processes go on where it was; a further one finds nothing to do', async () => {
    const job = await createJob('cut-off', noticesTheDeadSoon);
    await job.produce(rows.slice(0, half));
    const old = start(job, 'run', 'examples/handbook/kafka.yaml');
    await job.waitForPublished(half);
    // Each of its steps waits for this process, so it cannot come to its end while nobody looks.
    const proxy = await startProxy(services.redis.port);
    proxy.slow({ delayMs: 20 });
    const settings = [
      'batch.max_events=5',
      'state.flush_interval_ms=0',
      `state.redis.url=redis://127.0.0.1:${proxy.port}`,
    ];
    const slow = ['--json', '--within', '0', ...settings.flatMap((setting) => ['--set', setting])];
    const cut = start(job, 'backfill', changedConfig(), slow);
    const kept = 100;
    while ((await furthestFence('cut-off', recipeOf(changedConfig()))) < kept)
      await new Promise((resolve) => setTimeout(resolve, 5));
    cut.kill('SIGKILL');
    expect({ code: await cut.ended(), stdout: cut.stdout() }).toEqual({ code: 'SIGKILL', stdout: '' });
    await proxy.close();
    const shared = [1, 2].map(() => start(job, 'backfill', changedConfig(), ['--json', '--within', '0']));
    const results = await Promise.all(shared.map(resultOf));
    const applied = results.flatMap(({ partitions: of }) => of.map(({ events }) => events));
    const sum = applied.reduce((total, events) => total + events, 0);
    expect(sum).toBeGreaterThan(0);
    // What was stored before the end is not applied a second time.
    expect(sum).toBeLessThanOrEqual(half - kept);
    expect(results.every(({ caught_up }) => caught_up)).toBe(true);
    const again = start(job, 'backfill', changedConfig());
    expect({ code: await again.ended(), said: again.stdout() }).toMatchObject({
      code: 0,
      said: expect.stringMatching(
        /^Nothing to do: the state of recipe [0-9a-f]{12} is complete through cut-off.in:0 \d+/,
      ),
    });
    expect(reapplied(await switchOver(job, old, half))).toEqual(new Map());
  }, 200_000);

  it('adds the history before the log from a file, which merges with the partitions of the log', async () => {
    const job = await createJob('historic');
    const history = join(folder, 'history.jsonl');
    // A moment that splits the rows: what is at it belongs to the log.
    const split = rows.findIndex(({ ts_ms }, row) => row >= half && ts_ms > rows[row - 1].ts_ms);
    const lines = rows.map(({ transaction_id, ts_ms, customer_id, terminal_id, amountMinor, fraud }) =>
      JSON.stringify({
        transaction_id,
        ts_ms,
        customer_id,
        terminal_id,
        amount: (amountMinor / 100).toFixed(2),
        fraud,
      }),
    );
    writeFileSync(history, `${lines.join('\n')}\n`);
    await job.produce(rows.slice(0, split));
    await kafka.deleteRecords('historic.in');
    await job.produce(rows.slice(split));
    const file = ['--file', history, '--before', String(rows[split].ts_ms), '--json'];
    const backfill = start(job, 'backfill', changedConfig(), file);
    expect({ code: await backfill.ended(), stderr: backfill.stderr() }).toMatchObject({ code: 0 });
    expect(JSON.parse(backfill.stdout())).toMatchObject({ events: split, left_out: rowCount - split });
    const both = [1, 2].map(() => start(job, 'run', changedConfig()));
    await job.waitForPublished(rowCount - split);
    // The second may have nothing to do before the first has done it all.
    for (const weir of both) await begun(weir);
    for (const weir of both) weir.kill('SIGTERM');
    for (const weir of both) expect(await weir.ended()).toBe(0);
    const records = await job.published();
    expect(records).toHaveLength(rowCount - split);
    // Windows of five hours lie within log and file; three days reach behind the beginning of the file.
    expect(rows[split].ts_ms - rows[0].ts_ms).toBeGreaterThan(5 * hourMs);
    expect(incomplete(records).filter((of) => !of.endsWith('.3d'))).toEqual([]);
    expect(incomplete(records)).toHaveLength(2 * records.length);
    const wanted = changedFeatures();
    const faults = records.flatMap(({ data: { transaction_id, features } }) =>
      differences(transaction_id, features, wanted.get(transaction_id)!),
    );
    expect(faults.slice(0, 5)).toEqual([]);
  }, 100_000);

  it('marks windows that reach behind the beginning of a log that has no history, until they have filled', async () => {
    const job = await createJob('short');
    await job.produce(rows.slice(0, half));
    await kafka.deleteRecords('short.in');
    await job.produce(rows.slice(half));
    const weir = start(job, 'run', changedConfig());
    await job.waitForPublished(half);
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);
    const records = await job.published();
    const marked = new Set(incomplete(records));
    const wanted = changedFeatures();
    const lateness = hourMs;
    const begins = partitionsOf(records).map((of) => timeOf(of[0]) + lateness);
    for (const record of records) {
      const { transaction_id } = record.data;
      const isShort = timeOf(record) - 72 * hourMs < begins[record.partition];
      expect((record.data as { history_from?: string }).history_from).toBe(
        isShort ? new Date(begins[record.partition]).toISOString() : undefined,
      );
      for (const [name, hours] of Object.entries({ '5h': 5, '3d': 72 })) {
        const isMarked = marked.has(`${transaction_id} customer.count.${name}`);
        expect(isMarked).toBe(timeOf(record) - hours * hourMs < begins[record.partition]);
        if (!isMarked) {
          expect(record.data.features[`customer.count.${name}`]).toBe(
            wanted.get(transaction_id)![`customer.count.${name}`],
          );
        }
      }
    }
    expect(marked.size).toBeGreaterThan(0);
    expect(marked.size).toBeLessThan(records.length * 4);
    const id = rows.find(({ transaction_id }) => transaction_id === records[0].data.transaction_id)!.customer_id;
    const inspect = start(job, 'inspect', changedConfig(), ['customer', id, '--json']);
    expect({ code: await inspect.ended(), stderr: inspect.stderr() }).toEqual({ code: 0, stderr: '' });
    const shown = JSON.parse(inspect.stdout()) as { history: object[]; at: string; features: { state: string }[] };
    expect(new Set(shown.history)).toEqual(
      new Set(begins.map((time, p) => ({ partition: `short.in:${p}`, known_from: new Date(time).toISOString() }))),
    );
    const isShort = Date.parse(shown.at) - 72 * hourMs < begins[records[0].partition];
    expect(shown.features.some(({ state }) => state === 'incomplete')).toBe(isShort);
  }, 100_000);

  it('marks them, and counts what is lost, where the log is cut while it is read', async () => {
    const job = await createJob('cut-live');
    await job.produce(rows.slice(0, 1_000));
    const weir = start(job, 'run', changedConfig());
    await job.waitForPublished(1_000);
    weir.kill('SIGSTOP');
    // The fetch that is under way is answered with some of the first of these; none of the others has been asked for.
    await job.produce(rows.slice(1_000, 1_100));
    await job.produce(rows.slice(1_100, 1_500));
    await kafka.deleteRecords('cut-live.in');
    await job.produce(rows.slice(1_500));
    weir.kill('SIGCONT');
    await job.waitForPublished(rowCount - 500);
    const { metrics_port } = JSON.parse(
      weir
        .stderr()
        .split('\n')
        .find((line) => line.includes('metrics_port'))!,
    );
    let text = '';
    const metric = (name: string) =>
      [...text.matchAll(new RegExp(`^${name}\\{.*partition="(\\d)"\\} (\\S+)$`, 'gm'))].map(([, partition, value]) => [
        Number(partition),
        Number(value),
      ]);
    const lost = () => metric('weir_lost_records_total').reduce((sum, [, value]) => sum + value, 0);
    do text = await (await fetch(`http://127.0.0.1:${metrics_port}/metrics`)).text();
    while (lost() + (await job.published()).length < rowCount);
    expect(lost()).toBeGreaterThanOrEqual(400);
    const noticed = metric('weir_last_loss_timestamp_seconds');
    const withLosses = metric('weir_lost_records_total').filter(([, records]) => records > 0);
    expect(noticed.map(([partition]) => partition).sort()).toEqual(withLosses.map(([partition]) => partition).sort());
    for (const [, seconds] of noticed) expect(seconds).toBeCloseTo(Date.now() / 1000, -3);
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);
    const records = await job.published();
    const marked = new Set(incomplete(records));
    const wanted = changedFeatures();
    expect(records.length).toBe(rowCount - lost());
    const isGone = new Set(rows.slice(1_100, 1_500).map(({ transaction_id }) => transaction_id));
    expect(records.filter(({ data }) => isGone.has(data.transaction_id))).toEqual([]);
    const position = new Map(rows.map(({ transaction_id }, index) => [transaction_id, index]));
    const after = partitionsOf(records).map((of) =>
      of.filter(({ data }) => position.get(data.transaction_id)! >= 1_500),
    );
    const begins = after.map(([first]) => timeOf(first) + hourMs);
    expect(new Map(metric('weir_history_from_timestamp_seconds') as [number, number][])).toEqual(
      new Map(begins.map((time, partition) => [partition, time / 1_000])),
    );
    for (const record of records) {
      const { transaction_id, features, ...data } = record.data;
      const isAfter = position.get(transaction_id)! >= 1_500;
      for (const [name, hours] of Object.entries({ '5h': 5, '3d': 72 })) {
        const isShort = isAfter && timeOf(record) - hours * hourMs < begins[record.partition];
        expect(marked.has(`${transaction_id} customer.count.${name}`)).toBe(isShort);
        if (isShort) continue;
        const value = features[`customer.count.${name}`];
        expect([transaction_id, value]).toEqual([
          transaction_id,
          wanted.get(transaction_id)![`customer.count.${name}`],
        ]);
      }
      const { history_from } = data as { history_from?: string };
      expect(history_from === undefined).toBe(!isAfter || timeOf(record) - 72 * hourMs >= begins[record.partition]);
    }
    expect(marked.size).toBeGreaterThan(0);
  }, 100_000);

  it('refuses what it cannot do, with a sentence', async () => {
    const job = await createJob('unbegun');
    await job.produce(rows.slice(0, 10));
    const refusal = async (more: readonly string[], config = changedConfig()) => {
      const weir = start(job, 'backfill', config, more);
      return {
        code: await weir.ended(),
        said: weir
          .stderr()
          .split('\n')
          .filter((line) => line.startsWith('weir: '))[0],
      };
    };
    expect(await refusal([])).toEqual({
      code: 3,
      said: expect.stringContaining(
        'group unbegun has no position in topic unbegun.in: there is nothing to catch up with',
      ),
    });
    expect(await refusal(['--file', 'x.jsonl'])).toMatchObject({ code: 2, said: expect.stringContaining('--before') });
    expect(await refusal(['--before', '2026-01-01'])).toMatchObject({
      code: 2,
      said: expect.stringContaining('--file'),
    });
    expect(await refusal(['--file', 'x.jsonl', '--before', '1', '--follow'])).toMatchObject({ code: 2 });
    const embedded = join(folder, 'embedded.yaml');
    const text = readFileSync(changedConfig(), 'utf8').replace(
      /^state:\n( .*\n)+/m,
      `state: { embedded: { path: ${folder}/state } }\n`,
    );
    writeFileSync(embedded, text);
    expect(await refusal(['--set', 'state.redis=null'], embedded)).toMatchObject({
      code: 2,
      said: expect.stringContaining('state.embedded is for one process'),
    });
  }, 100_000);
});
