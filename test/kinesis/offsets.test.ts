import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { GetRecordsCommand, GetShardIteratorCommand, SplitShardCommand } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { openRewinder } from '../../consumers/components.ts';
import { loadJob } from '../../consumers/load-config.ts';
import { planShardReset } from '../../consumers/shard-reset.ts';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { handbookRecord, type PublishedRecord } from '../support/handbook-job.ts';
import { quietSurroundings } from '../support/memory-stream.ts';
import { endedWell, kinesisSuite } from '../support/suite.ts';

const rowCount = 400;
const rows = await readHandbook(rowCount);
const wanted = bruteForceFeatures(rows);
const { kinesis, dynamo, services, env, start, run, expectNoFault } = await kinesisSuite();

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
    /** What has been published since the last call. */
    published: kinesis.follow(`${name}-scored`),
    toEnd: async () => endedWell(await run(['run', '--until-end', ...options], env)),
    /** The same job in this process. */
    loaded: () => {
      const overrides = [
        ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
        `source.kinesis.endpoint=${services.kinesis.url}`,
        `source.kinesis.dynamodb_endpoint=${services.dynamo.url}`,
      ];
      return loadJob('examples/handbook/kinesis.yaml', { overrides, env, folder: process.cwd() });
    },
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

interface Event {
  readonly id: string;
  readonly data: PublishedRecord['data'] & { readonly source_position: { readonly partition: number } };
}

type Job = ReturnType<typeof jobOf>;

async function more({ published }: Job): Promise<Event[]> {
  return (await published()).map(({ value }) => JSON.parse(value) as Event);
}

/** Records of one moment arrived before all that are put afterwards. */
async function moment(): Promise<string> {
  const [before, after] = [1_100, 1_100];
  await new Promise((resolve) => setTimeout(resolve, before));
  const time = new Date().toISOString();
  await new Promise((resolve) => setTimeout(resolve, after));
  return time;
}

/** Each event is published again, once, with the same id and the customer's features as they are. */
function expectAgain(after: readonly Event[], before: readonly Event[]): void {
  expect(after.map(({ id }) => id).sort()).toEqual(before.map(({ id }) => id).sort());
  const transactions = new Map(before.map(({ id, data }) => [id, data.transaction_id]));
  expect(after.filter(({ id, data }) => transactions.get(id) !== data.transaction_id)).toEqual([]);
  expectBruteForce(after);
}

function expectBruteForce(events: readonly Event[]): void {
  const faults = events.flatMap(({ data }) =>
    differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'customer.'),
  );
  expect(faults.slice(0, 5)).toEqual([]);
}

const isOf = (part: readonly HandbookRow[]) => {
  const ids = new Set(part.map(({ transaction_id }) => transaction_id));
  return ({ data }: Event) => ids.has(data.transaction_id);
};

/** In the middle of the first shard's hash keys, which end before 2^127. */
const splitFirst = (StreamName: string) =>
  kinesis.client.send(
    new SplitShardCommand({
      StreamName,
      ShardToSplit: firstShard,
      NewStartingHashKey: String(2n ** 126n),
    }),
  );

const firstShard = 'shardId-000000000000';

/** The lease as a Java worker leaves it that is done with so many records of the stream's only shard. */
async function leaveToJava(name: string, count: number): Promise<void> {
  const start = { StreamName: name, ShardId: firstShard, ShardIteratorType: 'TRIM_HORIZON' } as const;
  const { ShardIterator } = await kinesis.client.send(new GetShardIteratorCommand(start));
  const { Records } = await kinesis.client.send(new GetRecordsCommand({ ShardIterator }));
  await dynamo.send(
    new UpdateItemCommand({
      TableName: name,
      Key: { leaseKey: { S: firstShard } },
      UpdateExpression: 'SET checkpoint = :checkpoint REMOVE weirCheckpoint, weirFence',
      ExpressionAttributeValues: { ':checkpoint': { S: Records![count - 1].SequenceNumber! } },
    }),
  );
}

describe('weir offsets reset on Kinesis', () => {
  it('goes back to a time and to the beginning, and publishes again what it had published', async () => {
    const job = jobOf('back');
    await job.create(2);
    const [first, second] = [rows.slice(0, 150), rows.slice(150)];
    await job.put(first);
    const time = await moment();
    await job.put(second);
    await job.toEnd();
    const events = await more(job);
    expect(events).toHaveLength(rowCount);
    const places = await job.show();

    const dry = await job.run('reset', '--to-time', time, '--dry-run');
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toContain(`Application back of stream back, to the first record of ${time} or later:`);
    expect(dry.stdout).toContain('Output: 250 records are scored and published again, with the ids that they had');
    expect(dry.stdout).toContain('State: what reaches beyond the new position is dropped');
    expect(dry.stdout).toContain('State: the next start re-applies 150 records');
    expect(await job.show()).toEqual(places);
    expect(await job.run('reset', '--to-time', time)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('nothing is changed: add --yes'),
    });
    expect(await job.run('reset', '--to-time', time, '--yes')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Done\.\n$/),
    });
    const moved = await job.show();
    expect(moved.shards.reduce((sum, { position }) => sum + position! - 2 ** 50, 0)).toBe(150);
    expect(moved.shards.map(({ owner, fence }) => [owner, fence])).toEqual([
      [null, null],
      [null, null],
    ]);
    await job.toEnd();
    expectAgain(await more(job), events.filter(isOf(second)));
    expect((await job.show()).shards.map(({ position }) => position)).toEqual(
      places.shards.map(({ position }) => position),
    );

    expect(await job.run('reset', '--to-earliest', '--yes')).toMatchObject({ code: 0 });
    expect((await job.show()).shards.map(({ fence, checkpoint }) => [fence, checkpoint!.sequence])).toEqual([
      [null, 'TRIM_HORIZON'],
      [null, 'TRIM_HORIZON'],
    ]);
    await job.toEnd();
    expectAgain(await more(job), events);
  }, 240_000);

  it('goes forward: what lies between gets into the state, never into the output', async () => {
    const job = jobOf('forward');
    await job.create(2);
    await job.put(rows.slice(0, 100));
    await job.toEnd();
    await job.put(rows.slice(100, 300));
    const skip = await job.run('reset', '--to-latest', '--yes');
    expect(skip).toMatchObject({ code: 0, stderr: '' });
    expect(skip.stdout).toContain('Output: 200 records get into the state, but are never scored.');
    await job.put(rows.slice(300));
    await job.toEnd();
    const events = await more(job);
    const scored = [...rows.slice(0, 100), ...rows.slice(300)];
    expect(events.map(({ data }) => data.transaction_id).sort()).toEqual(
      scored.map(({ transaction_id }) => transaction_id).sort(),
    );
    expectBruteForce(events);
  }, 240_000);

  it('is made good by the next start or the same command where it was interrupted, and does nothing where a worker came in between', async () => {
    const job = jobOf('interrupted');
    await job.create(1);
    await job.put(rows.slice(0, 100));
    const time = await moment();
    await job.put(rows.slice(100, 200));
    await job.toEnd();
    const events = await more(job);
    const [{ position }] = (await job.show()).shards;
    const name = 'interrupted:0';
    // What comes before the checkpoints.
    const rewinder = await openRewinder(job.loaded(), quietSurroundings());
    await rewinder.eraseBeyond(new Map([[name, position! - 100]]), () => {});
    await rewinder.close();
    expect((await job.show()).shards[0]).toMatchObject({ position, fence: null });
    await job.put(rows.slice(200, 250));
    await job.toEnd();
    const next = await more(job);
    expect(next).toHaveLength(50);
    expectBruteForce(next);

    const { kinesis: source } = job.loaded().config.source;
    const plan = await planShardReset(job.loaded(), source!, { time: Date.parse(time) }, quietSurroundings());
    await job.toEnd();
    const before = await job.show();
    await expect(plan.carryOut()).rejects.toMatchObject({ code: 'FENCED' });
    await plan.close();
    expect(await job.show()).toEqual(before);

    expect(await job.run('reset', '--to-time', time, '--yes')).toMatchObject({ code: 0 });
    await job.toEnd();
    expectAgain(await more(job), [...events.filter(isOf(rows.slice(100, 200))), ...next]);
  }, 240_000);

  it('is refused while a worker lives, for what only Kafka has, and where a shard would have to be begun again that has ended', async () => {
    const job = jobOf('refused');
    await job.create(2);
    const weir = job.start();
    await job.put(rows.slice(0, 100));
    for (let count = 0; count < 100; count += (await more(job)).length) expectNoFault();
    const live = await job.run('reset', '--to-earliest', '--yes');
    expect(live).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/application refused has workers that live: \S+:[0-9a-f]{12}\. Stop them first/),
    });
    for (const [flag, option] of [
      ['--partition', '1'],
      ['--to-offset', '5'],
    ]) {
      const to = flag === '--partition' ? ['--to-earliest'] : [];
      expect(await job.run('reset', flag, option, ...to)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`${flag} is not for Kinesis`),
      });
    }
    const before = await moment();
    await job.put(rows.slice(100, 200));
    await splitFirst('refused');
    const behind = await moment();
    await job.put(rows.slice(200));
    for (let count = 100; count < rowCount; count += (await more(job)).length) expectNoFault();
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);
    const places = await job.show();

    for (const target of [['--to-earliest'], ['--to-time', before]]) {
      const refused = await job.run('reset', ...target, '--yes');
      expect(refused).toMatchObject({ code: 2, stdout: '' });
      expect(refused.stderr).toContain('have records of then or later: shardId-000000000000. Which numbers');
      const [, earliest] = /no earlier than (\S+);/.exec(refused.stderr)!;
      expect(Date.parse(earliest)).toBeLessThan(Date.parse(behind));
      expect(Date.parse(earliest)).toBeGreaterThan(Date.parse(before));
    }
    expect(await job.show()).toEqual(places);

    // What followed is moved alone.
    expect(await job.run('reset', '--to-time', behind, '--yes')).toMatchObject({ code: 0 });
    await job.toEnd();
    const again = await more(job);
    expect(again).toHaveLength(200);
    expect(again.every(isOf(rows.slice(200)))).toBe(true);
    expectBruteForce(again);
  }, 240_000);

  it('goes back in a shard that was split meanwhile and not read to its end; what follows it comes after', async () => {
    const job = jobOf('split');
    await job.create(1);
    await job.put(rows.slice(0, 50));
    const time = await moment();
    await job.put(rows.slice(50, 100));
    await job.toEnd();
    const events = await more(job);
    await splitFirst('split');
    await job.put(rows.slice(100, 150));
    const skip = await job.run('reset', '--to-latest', '--yes');
    expect(skip).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('has no lease yet') });
    expect(await job.run('reset', '--to-time', time, '--yes')).toMatchObject({ code: 0 });
    await job.toEnd();
    const again = await more(job);
    const isNew = isOf(rows.slice(100, 150));
    expectAgain(
      again.filter((event) => !isNew(event)),
      events.filter(isOf(rows.slice(50, 100))),
    );
    expect(again.filter(isNew)).toHaveLength(50);
    expectBruteForce(again);
  }, 240_000);

  it('counts from the log for a checkpoint that a Java worker has made, and weir has not read', async () => {
    const job = jobOf('java');
    await job.create(1);
    await job.toEnd();
    await job.put(rows.slice(0, 2));
    const time = await moment();
    await job.put(rows.slice(2, 10));
    await leaveToJava('java', 6);
    const plan = async (...target: string[]) =>
      endedWell(await job.run('reset', ...target, '--dry-run'))
        .split('\n')
        .filter((line) => line.startsWith('Output'));
    const again = (count: number) => expect.stringContaining(`Output: ${count} records are scored and published again`);
    expect(await plan('--to-time', time)).toEqual([again(4)]);
    expect(await plan('--to-earliest')).toEqual([again(6)]);
    expect(await plan('--to-latest')).toEqual(['Output: 4 records get into the state, but are never scored.']);
  }, 120_000);

  it('is refused for an application that has not read what there is state of', async () => {
    const job = jobOf('mistyped');
    await job.create(1);
    await job.put(rows.slice(0, 50));
    await job.toEnd();
    const slip = ['--set', 'source.kinesis.application=mistypde'];
    expect(await job.run('reset', ...slip, '--to-earliest', '--yes')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('lease table mistypde does not exist'),
    });
    expect((await job.show()).shards[0]).toMatchObject({ position: 2 ** 50 + 50, fence: 2 ** 50 + 50 });
  }, 120_000);
});
