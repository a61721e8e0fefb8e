import { type AttributeValue, ScanCommand } from '@aws-sdk/client-dynamodb';
import { SplitShardCommand } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { type HandbookRow, readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import { type Ended, kinesisSuite } from '../support/suite.ts';
import type { WeirProcess } from '../support/weir-process.ts';

const rowCount = 400;
/** Nobody is taken for dead who stands still because the machine does. */
const failoverMs = 10_000;
const rows = await readHandbook(rowCount);
const { kinesis, dynamo, env, start, run: runWeir, expectNoFault } = await kinesisSuite();

interface Status {
  readonly workers: readonly { readonly worker: string; readonly leases: number; readonly expired: number }[];
  readonly watched_ms: number;
  readonly shards: readonly {
    readonly shard: string;
    readonly partition: number;
    readonly state: string;
    readonly parents: readonly string[];
    readonly children: readonly string[];
    readonly lease: {
      readonly owner: string | null;
      readonly holding: string;
      readonly counter: number;
      readonly checkpoint: { readonly sequence: string; readonly sub_sequence: number };
      readonly fence_anchor: { readonly number: number } | null;
    } | null;
    readonly position: number | null;
    readonly fence: number | null;
    readonly not_stored: number | null;
    readonly frontier: { readonly event_time: string | null; readonly state: string } | null;
  }[];
  readonly store_fault: string | null;
  readonly remarks: readonly { readonly what: string; readonly of: string | null; readonly message: string }[];
}

function statusIn({ code, stdout, stderr }: Ended): Status {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Status;
}

/** A stream with its job, both of that name. */
function jobOf(name: string) {
  const settings = {
    job: name,
    'source.kinesis.stream': name,
    'source.kinesis.application': name,
    'source.kinesis.failover_time_ms': failoverMs,
    'source.kinesis.shard_sync_interval_ms': 1_000,
    'source.kinesis.checkpoint_interval_ms': 100,
    'sink.kinesis.stream': `${name}-scored`,
    'sink.kinesis.dead_letters': `${name}-dead`,
    'state.redis.connect_timeout_ms': 1_000,
    'state.redis.command_timeout_ms': 60_000,
    'metrics.port': 0,
    'log.level': 'warn',
  };
  const set = (of: object) => Object.entries(of).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const options = ['--config', 'examples/handbook/kinesis.yaml', ...set(settings)];
  const run = (more: readonly string[] = []) => runWeir(['fleet', 'status', ...options, ...more], env);
  return {
    async create(shards: number) {
      await kinesis.createStream(name, shards);
      await kinesis.createStream(`${name}-scored`, 1);
      await kinesis.createStream(`${name}-dead`, 1);
    },
    start(processName: string): WeirProcess {
      const own = { 'source.kinesis.process_name': processName, 'metrics.host': '127.0.0.1', 'log.level': 'info' };
      return start(['run', ...options, ...set(own)], env);
    },
    put: (part: readonly HandbookRow[]) => kinesis.put(name, part.map(handbookRecord)),
    run,
    async status(...more: string[]): Promise<Status> {
      return statusIn(await run(['--json', ...more]));
    },
    async until(holds: (status: Status) => boolean, ...more: string[]): Promise<Status> {
      for (;;) {
        const answer = await run(['--json', ...more]);
        // 3: until the first process has made the table.
        const status = answer.code === 3 ? undefined : statusIn(answer);
        if (status !== undefined && holds(status)) return status;
        expectNoFault();
      }
    },
  };
}

async function leaseItems(TableName: string): Promise<Record<string, AttributeValue>[]> {
  return (await dynamo.send(new ScanCommand({ TableName }))).Items ?? [];
}

/** The process's own counts, by name with labels. */
async function metricsOf(weir: WeirProcess): Promise<(series: string) => number> {
  const port = /"metrics_port":(\d+)/.exec(weir.stderr())![1];
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const values = new Map(
    text.split('\n').map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
  return (series) => values.get(series) ?? 0;
}

const isSettled = ({ shards }: Status) =>
  shards.every(({ state, not_stored }) => state === 'finished' || not_stored === 0);
const isHeld = ({ shards }: Status) => shards.every(({ lease }) => lease?.holding === 'held');
const remarked = ({ remarks }: Status) => remarks.map(({ what, of }) => [what, of]);
const ownersOf = ({ shards }: Status) => new Set(shards.map(({ lease }) => lease?.owner?.split(':')[0]));

describe('weir fleet status on Kinesis', () => {
  it('shows owners, checkpoints and stored state, a split on its way, and who has died', async () => {
    const job = jobOf('fleet');
    await job.create(2);
    const doomed = job.start('one');
    const two = job.start('two');
    await job.put(rows.slice(0, rowCount / 2));
    const shared = await job.until((status) => ownersOf(status).size === 2 && isSettled(status) && isHeld(status));
    expect(shared.workers.map(({ worker, leases, expired }) => [worker.split(':')[0], leases, expired])).toEqual([
      ['one-0', 1, 0],
      ['two-0', 1, 0],
    ]);
    expect(shared.shards.map(({ state }) => state)).toEqual(['open', 'open']);
    expect(shared.watched_ms).toBeLessThan(failoverMs);
    expect(remarked(shared)).toEqual([]);
    const positions = shared.shards.map(({ position }) => position! - 2 ** 50);
    expect(positions.reduce((sum, count) => sum + count)).toBe(rowCount / 2);
    const newest = rows.slice(0, rowCount / 2).reduce((latest, { ts_ms }) => Math.max(latest, ts_ms), 0);
    // Who has got a shard at its end has read no event of it yet.
    const reached = shared.shards.flatMap(({ frontier }) => frontier!.event_time ?? []);
    expect(reached).not.toEqual([]);
    for (const time of reached) expect(Date.parse(time)).toBeLessThanOrEqual(newest);
    for (const { lease } of shared.shards) {
      expect(lease!.fence_anchor!.number).toBeGreaterThanOrEqual(2 ** 50);
      expect(lease!.checkpoint.sequence).toMatch(/^\d{50,}$/);
    }

    const seen = (owner: string) => metric(`weir_kinesis_leases{stream="fleet",owner="${owner}"}`);
    const changes = (change: string) => metric(`weir_kinesis_lease_changes_total{stream="fleet",change="${change}"}`);
    let metric = await metricsOf(doomed);
    // Until its next look at the table.
    const sum = (...kinds: string[]) => kinds.reduce((total, kind) => total + changes(kind), 0);
    const kept = () => sum('taken', 'received', 'stolen') - sum('handed', 'lost');
    while (seen('self') !== 1 || seen('other') !== 1 || kept() !== 1) metric = await metricsOf(doomed);
    expect(seen('none')).toBe(0);
    expect(metric('weir_kinesis_shards{stream="fleet",state="open"}')).toBe(2);
    // Who has published depends on who had which lease when the records came.
    const all = [metric, await metricsOf(two)];
    for (const [service, operation] of [
      ['kinesis', 'GetRecords'],
      ['kinesis', 'PutRecords'],
      ['dynamodb', 'UpdateItem'],
      ['dynamodb', 'Scan'],
    ]) {
      const labels = `service="${service}",operation="${operation}",outcome="ok"`;
      const isCounted = all.some((of) => of(`weir_aws_requests_total{${labels}}`) > 0);
      expect({ labels, isCounted }).toEqual({ labels, isCounted: true });
    }

    // In the middle of the first shard's hash keys, which end before 2^127.
    await kinesis.client.send(
      new SplitShardCommand({
        StreamName: 'fleet',
        ShardToSplit: 'shardId-000000000000',
        NewStartingHashKey: String(2n ** 126n),
      }),
    );
    await job.put(rows.slice(rowCount / 2));
    const split = await job.until(({ shards }) =>
      shards.some(({ shard, state }) => shard.endsWith('2') && state === 'open'),
    );
    const [parent, , left] = split.shards;
    expect(parent.children).toEqual(['shardId-000000000002', 'shardId-000000000003']);
    // Its lease goes once both children are being read.
    expect([
      ['finished', 'SHARD_END'],
      ['past', undefined],
    ]).toContainEqual([parent.state, parent.lease?.checkpoint.sequence]);
    expect(left.parents).toEqual(['shardId-000000000000']);

    // Nobody else takes what it had: what is left of the fleet stands still as well.
    two.kill('SIGSTOP');
    doomed.kill('SIGKILL');
    await doomed.ended();
    const once = await job.status('--once');
    expect(remarked(once)).toContainEqual(['not-watched', null]);
    const dead = await job.until((status) => status.remarks.some(({ what }) => what === 'no-workers'));
    expect(dead.watched_ms).toBeGreaterThanOrEqual(failoverMs);
    const wanted = dead.shards.filter(({ state }) => state === 'open');
    expect(remarked(dead)).toEqual([['no-workers', null], ...wanted.map(({ shard }) => ['expired', shard])]);
    const { stdout } = await job.run();
    const [, seconds] = /^Stream fleet as application fleet, lease table fleet, watched for (\S+) s; shards: /.exec(
      stdout,
    )!;
    expect(Number(seconds)).toBeGreaterThanOrEqual(failoverMs / 1000);
    expect(stdout).toMatch(/^shardId-000000000001 {2}open +(one|two)-0:\w+ +expired +/m);
    expect(stdout).toContain('Nobody reads the stream');
  }, 240_000);

  it('writes nothing, also of a table that nobody works on, and says what a store that is away leaves unknown', async () => {
    const job = jobOf('quiet');
    await job.create(2);
    const { code, stderr } = await job.run();
    expect({ code, stderr }).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('lease table quiet does not exist'),
    });
    const weir = job.start('one');
    await job.put(rows);
    await job.until(
      (status) => isSettled(status) && status.shards.every(({ position }) => position !== null),
      '--once',
    );
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);

    const before = await leaseItems('quiet');
    const free = await job.status();
    expect(await leaseItems('quiet')).toEqual(before);
    // There is nobody to be watched.
    expect(free.watched_ms).toBeLessThan(failoverMs);
    expect(free.workers).toEqual([]);
    expect(remarked(free)).toEqual([
      ['no-workers', null],
      ['free', 'shardId-000000000000'],
      ['free', 'shardId-000000000001'],
    ]);
    for (const { lease } of free.shards) expect(lease).toMatchObject({ owner: null, holding: 'free' });

    const away = await job.status('--set', 'state.redis.url=redis://127.0.0.1:1');
    expect(away.store_fault).toContain('127.0.0.1:1');
    expect(away.shards.map(({ position, fence }) => [typeof position, fence])).toEqual([
      ['number', null],
      ['number', null],
    ]);
    expect(remarked(away)).toContainEqual(['store-away', null]);
  }, 240_000);

  it('says that there is no such stream', async () => {
    const { code, stderr } = await jobOf('nowhere').run();
    expect({ code, stderr }).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('stream nowhere does not exist'),
    });
  });
});
