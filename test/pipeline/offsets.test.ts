import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { loadJob } from '../../consumers/load-config.ts';
import { type PartitionStanding, viewOffsets } from '../../consumers/offsets.ts';
import { bruteForceFeatures, differences, readHandbook } from '../support/handbook.ts';
import { type PublishedRecord, partitions } from '../support/handbook-job.ts';
import { quietSurroundings } from '../support/memory-stream.ts';
import { kafkaSuite, type SuiteJob } from '../support/suite.ts';
import { openTerminal } from '../support/terminal.ts';

const rowCount = 4_000;
const groupTool = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand';
const rows = await readHandbook(rowCount);
const wanted = bruteForceFeatures(rows);
const { kafka, services, folder, createJob } = await kafkaSuite();

const toEnd = (job: SuiteJob, more: readonly string[] = []) => job.runWell(['run'], [...more, '--until-end']);

/** As `weir offsets show` has it. */
async function show({ args, env }: SuiteJob, more: readonly string[] = []): Promise<readonly PartitionStanding[]> {
  const [, , config, ...overrides] = [...args, ...more];
  const sets = overrides.filter((text) => text !== '--set');
  const { partitions } = await viewOffsets(
    loadJob(config, { overrides: sets, env, folder: process.cwd() }),
    quietSurroundings(),
  );
  return partitions;
}

const reset = (job: SuiteJob, more: readonly string[]) => job.run(['offsets', 'reset'], more);

/** What Kafka's own tool says of the group, by partition. */
async function byKafka(
  name: string,
  ...args: string[]
): Promise<Map<number, { committed: number; end: number; lag: number }>> {
  const broker = ['--bootstrap-server', services.kafka.brokers.join(','), '--group', name];
  const text = await services.kafka.tool(groupTool, [...broker, ...(args.length > 0 ? args : ['--describe'])]);
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/));
  const own = lines.filter(([group, topic]) => group === name && topic === `${name}.in`);
  return new Map(
    own.map(([, , partition, committed, end, lag]) => [
      Number(partition),
      { committed: Number(committed), end: Number(end), lag: Number(lag) },
    ]),
  );
}

/** A job whose rows are all published, and its events. */
async function doneJob(name: string, more: readonly string[] = []) {
  const job = await createJob(name);
  await job.produce(rows);
  await toEnd(job, more);
  const before = await job.published();
  expect(before).toHaveLength(rowCount);
  return { job, before };
}

const idOf = ({ headers }: PublishedRecord) => headers.ce_id;
const ofPartition = (records: readonly PublishedRecord[], partition: number) =>
  records.filter(({ data }) => data.source_position.partition === partition);

/** Customer features: those of terminals depend on how far the other partitions had come. */
const customerFeatures = ({ data }: PublishedRecord) =>
  Object.fromEntries(Object.entries(data.features).filter(([name]) => !name.startsWith('terminal.')));

/** Those that were not there before. */
function newcomers(records: readonly PublishedRecord[], before: readonly PublishedRecord[]): PublishedRecord[] {
  const known = new Set(before.map(({ partition, offset }) => `${partition}:${offset}`));
  return records.filter(({ partition, offset }) => !known.has(`${partition}:${offset}`));
}

/** Each event is published again, once, as it was. */
function expectAgain(after: readonly PublishedRecord[], again: readonly PublishedRecord[]): void {
  expect(after.map(idOf).sort()).toEqual(again.map(idOf).sort());
  const former = new Map(again.map((record) => [idOf(record), customerFeatures(record)]));
  const faults = after.flatMap((record) => [
    ...differences(idOf(record), customerFeatures(record), former.get(idOf(record))!),
    ...differences(idOf(record), record.data.features, wanted.get(record.data.transaction_id)!, 'customer.'),
  ]);
  expect(faults.slice(0, 5)).toEqual([]);
}

const modes = {
  'exactly-once': () => [],
  'at-least-once': () => ['--set', 'delivery=at-least-once'],
  embedded: () => ['--set', 'state.redis=null', '--set', `state.embedded.path=${join(folder, 'state')}`],
};

describe.each(Object.entries(modes))('weir offsets, %s', (mode, settings) => {
  it('shows what the distribution shows, goes back, and publishes again what it had published', async () => {
    const name = `back-${mode}`;
    const own = settings();
    const { job, before } = await doneJob(name, own);
    const places = await show(job, own);
    expect(await byKafka(name)).toEqual(
      new Map(places.map(({ partition, committed, end, lag }) => [partition, { committed, end, lag }])),
    );
    expect(places.map(({ fence, committed, reapplied, trouble }) => [fence === committed, reapplied, trouble])).toEqual(
      places.map(() => [true, 0, undefined]),
    );

    const [to, partition] = [Math.floor(places[2].end / 3), 2];
    const back = ['--to-offset', String(to), '--partition', String(partition)];
    const dry = await reset(job, [...own, ...back, '--dry-run']);
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toContain(
      `Output: ${(places[2].end - to).toLocaleString('en-US')} records are scored and published again, with the ids that they had`,
    );
    expect(dry.stdout).toContain('State: what reaches beyond the new position is dropped');
    expect(await show(job, own)).toEqual(places);
    expect(await reset(job, [...own, ...back])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('nothing is changed: add --yes'),
    });
    expect(await show(job, own)).toEqual(places);

    expect(await reset(job, [...own, ...back, '--yes'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Done\.\n$/),
    });
    const after = await show(job, own);
    expect(after[2]).toMatchObject({ committed: to, lag: places[2].end - to, fence: undefined, reapplied: to });
    expect(after.filter((of) => of.partition !== partition)).toEqual(places.filter((of) => of.partition !== partition));
    expect((await byKafka(name)).get(partition)).toEqual({
      committed: to,
      end: places[2].end,
      lag: places[2].end - to,
    });

    await toEnd(job, own);
    const repeated = await job.published();
    expectAgain(
      newcomers(repeated, before),
      ofPartition(before, partition).filter(({ data }) => data.source_position.offset >= to),
    );

    // All of it again.
    expect(await reset(job, [...own, '--to-earliest', '--yes'])).toMatchObject({ code: 0 });
    await toEnd(job, own);
    expectAgain(newcomers(await job.published(), repeated), before);
  }, 400_000);
});

describe('weir offsets', () => {
  it('goes forward: what lies between gets into the state, never into the output', async () => {
    const job = await createJob('forward');
    await job.produce(rows.slice(0, rowCount / 2));
    await toEnd(job);
    await job.produce(rows.slice(rowCount / 2, rowCount - 500));
    const skip = await reset(job, ['--to-latest', '--yes']);
    expect(skip).toMatchObject({ code: 0, stderr: '' });
    expect(skip.stdout).toContain('Output: 1,500 records get into the state, but are never scored.');
    expect((await show(job)).map(({ lag }) => lag)).toEqual([0, 0, 0, 0]);
    await job.produce(rows.slice(rowCount - 500));
    await toEnd(job);
    const records = await job.published();
    const scored = [...rows.slice(0, rowCount / 2), ...rows.slice(rowCount - 500)];
    expect(records.map(({ data }) => data.transaction_id).sort()).toEqual(
      scored.map(({ transaction_id }) => transaction_id).sort(),
    );
    const faults = records.flatMap(({ data }) =>
      differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'customer.'),
    );
    expect(faults.slice(0, 5)).toEqual([]);
  }, 200_000);

  it("goes to a time as Kafka's own tool does, and asks before", async () => {
    const job = await createJob('to-time');
    await job.produce(rows.slice(0, 1_000));
    await toEnd(job);
    const { last } = await kafka.times('to-time.in');
    await new Promise((resolve) => setTimeout(resolve, 2));
    const time = new Date(last + 1);
    await job.produce(rows.slice(1_000, 1_400));
    await toEnd(job);
    const [, ...options] = job.args;
    const ask = openTerminal(
      ['node', 'cli/weir.ts', 'offsets', 'reset', ...options, '--to-time', time.toISOString()].join(' '),
      job.env,
    );
    await ask.shows(/Do it\? \[y\/N\]/);
    ask.type('y\r');
    expect(await ask.ended()).toBe(0);
    const ours = (await show(job)).map(({ partition, committed }) => [partition, committed]);
    const moved = [
      '--reset-offsets',
      '--topic',
      'to-time.in',
      '--to-datetime',
      time.toISOString().replace('Z', ''),
      '--execute',
    ];
    await byKafka('to-time', ...moved);
    const theirs = (await show(job)).map(({ partition, committed }) => [partition, committed]);
    expect(ours).toEqual(theirs);
    expect(ours.reduce((sum, [, committed]) => sum + committed!, 0)).toBe(1_000);
  }, 200_000);

  it('says where the log has no such place, and asks somebody before it goes to the end for that', async () => {
    const job = await createJob('clamped');
    await job.produce(rows.slice(0, 400));
    await toEnd(job);
    const places = await show(job);
    const beyond = await reset(job, ['--to-offset', '99999999', '--yes']);
    expect(beyond).toMatchObject({
      code: 2,
      stdout: expect.stringContaining(
        `Partition 1: the log ends at ${places[1].end}, before offset 99999999: its end.\n`,
      ),
      stderr: expect.stringContaining(`nothing is changed: the log of partition 0 ends at ${places[0].end}`),
    });
    expect(await show(job)).toEqual(places);
    const late = await reset(job, ['--to-time', '2200-01-01T01:00+01:00', '--yes']);
    expect(late).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('to the first record of 2200-01-01T00:00:00.000Z or later:\n'),
    });
    expect(late.stdout).toContain("Partition 1: no record is of that time or later: the log's end.\n");
    await kafka.deleteRecords('clamped.in');
    const early = await reset(job, ['--to-offset', '1', '--partition', '2', '--yes']);
    expect(early).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(
        `Partition 2: the log begins at ${places[2].end}, behind offset 1: its beginning.\n`,
      ),
    });
  }, 200_000);

  it('tells records that were deleted before they were read from those that are left', async () => {
    const job = await createJob('deleted');
    await job.produce(rows.slice(0, 400));
    await toEnd(job);
    const done = await show(job);
    await job.produce(rows.slice(400, 1_000));
    await kafka.deleteRecords('deleted.in');
    await job.produce(rows.slice(1_000, 1_008));
    const places = await show(job);
    expect(places.map(({ lost }) => lost)).toEqual(places.map(({ begin }, p) => begin - done[p].committed!));
    expect(places.reduce((sum, { lost }) => sum + lost, 0)).toBe(600);
    expect(places.reduce((sum, { lag }) => sum + lag, 0)).toBe(8);
    const sentence = `Partition 3: ${places[3].lost} records were deleted before they were read: never scored.\n`;
    expect(await job.runWell(['offsets', 'show'])).toContain(sentence);
    const forward = await job.runWell(['offsets', 'reset'], ['--to-latest', '--dry-run']);
    expect(forward).toContain(sentence);
    expect(forward).toContain('Output: 8 records get into the state, but are never scored.');
    await toEnd(job);
    expect(await job.published()).toHaveLength(408);
    expect((await show(job)).map(({ lag, lost }) => [lag, lost])).toEqual(places.map(() => [0, 0]));
  }, 200_000);

  it("takes the state along after a reset with Kafka's own tool, which a start refuses", async () => {
    const { job, before } = await doneJob('by-tool');
    await byKafka('by-tool', '--reset-offsets', '--topic', 'by-tool.in:1', '--to-offset', '100', '--execute');
    expect((await show(job))[1]).toMatchObject({ committed: 100, trouble: 'ahead' });
    const text = await job.runWell(['offsets', 'show']);
    expect(text).toMatch(/^ +1 +100 +0 +[\d,]+ +[\d,]+ +[\d,]+ +0$/m);
    expect(text).toMatch(/^Partition 1: the state reaches beyond the position/m);
    const refused = await job.run(['run'], ['--until-end']);
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('run weir offsets reset --to-offset 100 --partition 1'),
    });
    expect(await reset(job, ['--to-offset', '100', '--partition', '1', '--yes'])).toMatchObject({ code: 0 });
    await toEnd(job);
    expectAgain(
      newcomers(await job.published(), before),
      ofPartition(before, 1).filter(({ data }) => data.source_position.offset >= 100),
    );
  }, 200_000);

  it('refuses while a process is in the group, or builds state beside it, and names it', async () => {
    const job = await createJob('alive');
    await job.produce(rows.slice(0, 400));
    const weir = job.start(['run'], ['--set', 'source.kafka.client_id=scorer-7']);
    await job.waitForPublished(400);
    expect(await reset(job, ['--to-earliest', '--yes'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('group alive has members: scorer-7 at 127.0.0.1'),
    });
    const live = await job.runWell(['offsets', 'show'], ['--json']);
    expect(JSON.parse(live)).toMatchObject({
      members: [
        { client_id: 'scorer-7', host: '127.0.0.1', partitions: Array.from({ length: partitions }, (_, p) => p) },
      ],
    });
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);
    const backfill = job.start(['backfill'], ['--follow', '--set', 'log.level=info']);
    while (!/caught up/.test(backfill.stderr())) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await reset(job, ['--to-earliest', '--yes'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('group alive.backfill has members'),
    });
    backfill.kill('SIGTERM');
    await backfill.ended();
    expect((await show(job)).reduce((sum, { committed }) => sum + committed!, 0)).toBe(400);
  }, 200_000);

  it('refuses a mistyped group while the one that is meant is live, and leaves its state alone', async () => {
    const job = await createJob('mistyped');
    await job.produce(rows.slice(0, 400));
    const weir = job.start(['run']);
    await job.waitForPublished(400);
    const standing = async () => (await show(job)).map(({ committed, fence }) => [committed, fence]);
    const isStored = (of: Awaited<ReturnType<typeof standing>>) => of.every(([at, fence]) => at! > 0 && at === fence);
    while (!isStored(await standing())) await new Promise((resolve) => setTimeout(resolve, 50));
    const places = await standing();
    const slip = ['--set', 'source.kafka.group=mistypde'];
    for (const target of ['--to-earliest', '--to-latest'])
      expect(await reset(job, [...slip, target, '--yes'])).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringContaining(
          'group mistypde has no position in mistyped.in:0, but job mistyped has state of it',
        ),
      });
    expect(await job.runWell(['offsets', 'show'], slip)).toContain(
      "Partition 0: there is state, but the group has no position: it is another group's.",
    );
    expect(await job.run(['run'], [...slip, '--until-end'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("check the group's name"),
    });
    expect(await standing()).toEqual(places);
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(0);

    // As the sentence says, for whom it is no slip.
    const { stderr } = await reset(job, [...slip, '--to-earliest', '--yes']);
    const [, ...args] = /kafka-consumer-groups\.sh (.+ --execute)/.exec(stderr)![1].split(' ');
    await services.kafka.tool(groupTool, ['--bootstrap-server', ...args]);
    // Kafka's tool does not say with a position how many partitions the topic had.
    const warning = expect.stringContaining('do not know of all partitions of the topic');
    expect(await reset(job, [...slip, '--to-earliest', '--yes'])).toMatchObject({ code: 0, stderr: warning });
    expect((await show(job, slip)).map(({ fence }) => fence)).toEqual(places.map(() => undefined));
    await toEnd(job, slip);
    expect(await job.published()).toHaveLength(800);
  }, 200_000);

  it('says what it cannot do', async () => {
    const job = await createJob('refused');
    const refusals: [string[], number, string][] = [
      [[], 2, 'say where to: one of --to-earliest'],
      [['--to-earliest', '--to-latest'], 2, 'say where to'],
      [['--to-offset', '-1'], 2, '--to-offset wants a whole number'],
      [
        ['--to-time', '1767960000'],
        2,
        '"1767960000": that is 1970-01-21T11:06:00.000Z, before 2000; were seconds meant?',
      ],
      [['--to-time', '2026-01-09 12:00'], 2, '--to-time wants a time like 2026-01-01T00:00:00Z, with its zone'],
      [['--to-earliest', '--partition', '9'], 2, 'topic refused.in has no partition 9'],
      [['--to-earliest', '--set', 'source.kafka.topic=nowhere'], 3, 'topic nowhere does not exist'],
      [
        [
          '--to-earliest',
          '--set',
          'sink.kafka=null',
          '--set',
          `sink.file.path=${folder}/x.jsonl`,
          '--set',
          `sink.file.dead_letters=${folder}/y.jsonl`,
        ],
        2,
        "position is kept in the file sink's checkpoint",
      ],
    ];
    for (const [more, code, sentence] of refusals)
      expect(await reset(job, more)).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(sentence) });
  }, 200_000);
});
