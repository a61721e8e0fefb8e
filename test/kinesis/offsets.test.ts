import { describe, expect, it } from '@jest/globals';
import { type HandbookRow, readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import { endedWell, kinesisSuite } from '../support/suite.ts';

const rowCount = 400;
const rows = await readHandbook(rowCount);
const { kinesis, env, start, run, expectNoFault } = await kinesisSuite();

interface Shown {
  readonly shards: readonly {
    readonly shard: string;
    readonly state: string;
    readonly owner: string | null;
    readonly checkpoint: { readonly sequence: string; readonly sub_sequence: number } | null;
    readonly position: number | null;
    readonly fence: number | null;
    readonly record_put_at: string | null;
    readonly reapplied: number | null;
    readonly trouble: string | null;
  }[];
  readonly store_fault: string | null;
}

/** A stream with its job, both of that name. */
function jobOf(name: string) {
  const settings = {
    job: name,
    'source.kinesis.stream': name,
    'source.kinesis.application': name,
    'source.kinesis.failover_time_ms': 4_000,
    'source.kinesis.shard_sync_interval_ms': 1_000,
    'source.kinesis.checkpoint_interval_ms': 100,
    'sink.kinesis.stream': `${name}-scored`,
    'sink.kinesis.dead_letters': `${name}-dead`,
    'metrics.port': 0,
    'log.level': 'warn',
  };
  const options = [
    ...['--config', 'examples/handbook/kinesis.yaml'],
    ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ];
  return {
    async create(shards: number) {
      await kinesis.createStream(name, shards);
      await kinesis.createStream(`${name}-scored`, 1);
      await kinesis.createStream(`${name}-dead`, 1);
    },
    put: (part: readonly HandbookRow[]) => kinesis.put(name, part.map(handbookRecord)),
    start: () => start(['run', ...options], env),
    toEnd: async () => endedWell(await run(['run', '--until-end', ...options], env)),
    run: (command: string, ...more: string[]) => run(['offsets', command, ...options, ...more], env),
    async show(...more: string[]): Promise<Shown> {
      return JSON.parse(endedWell(await this.run('show', '--json', ...more))) as Shown;
    },
  };
}

describe('weir offsets show on Kinesis', () => {
  it('shows checkpoints, positions and fences, also while the job runs, and blanks where nothing is known', async () => {
    const job = jobOf('shown');
    await job.create(2);
    const none = await job.run('show');
    expect(none).toMatchObject({ code: 3, stderr: expect.stringContaining('lease table shown does not exist') });
    const before = Date.now();
    const weir = job.start();
    await job.put(rows);
    let shown: Shown | undefined;
    while (shown === undefined || !isSettled(shown)) {
      expectNoFault();
      const { code, stdout } = await job.run('show', '--json');
      shown = code === 0 ? (JSON.parse(stdout) as Shown) : undefined;
    }
    expect(shown.shards.map(({ state, trouble }) => [state, trouble])).toEqual([
      ['open', null],
      ['open', null],
    ]);
    expect(shown.shards.reduce((sum, { position }) => sum + position! - 2 ** 50, 0)).toBe(rowCount);
    for (const { owner, record_put_at, checkpoint } of shown.shards) {
      expect(owner).toMatch(/:[0-9a-f]{12}$/);
      expect(checkpoint!.sequence).toMatch(/^\d{50,}$/);
      expect(Date.parse(record_put_at!)).toBeGreaterThan(before - 1_000);
      expect(Date.parse(record_put_at!)).toBeLessThan(Date.now() + 1_000);
    }
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);

    const text = endedWell(await job.run('show'));
    expect(text).toMatch(/^Application shown of stream shown, lease table shown, state of recipe [0-9a-f]+\n/);
    expect(text).toMatch(/^ +1 +open +nobody +…\d{12}:0 +[\d,]{17,} +[\d,]{17,} +\d+ s ago +0$/m);

    const away = await job.show('--set', 'state.redis.url=redis://127.0.0.1:1');
    expect(away.store_fault).toContain('127.0.0.1:1');
    expect(away.shards.map(({ position, fence, reapplied }) => [position, fence, reapplied])).toEqual(
      shown.shards.map(({ position }) => [position, null, null]),
    );
  }, 120_000);
});

const isSettled = ({ shards }: Shown) =>
  shards.every(({ position, reapplied }) => position !== null && reapplied === 0) &&
  shards.reduce((sum, { position }) => sum + position! - 2 ** 50, 0) === rowCount;
