import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readHandbook } from '../support/handbook.ts';
import { partitions } from '../support/handbook-job.ts';
import { type Ended, kafkaSuite, type SuiteJob } from '../support/suite.ts';
import { runWeir } from '../support/weir-process.ts';

const rowCount = 1_000;
const groupTool = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand';
const rows = await readHandbook(rowCount);
const { services, folder, createJob, expectNoFault } = await kafkaSuite();

interface Status {
  readonly state: string;
  readonly protocol: string;
  readonly generation_at_least: number | null;
  readonly members: readonly {
    readonly id: string;
    readonly name: string | null;
    readonly host: string;
    readonly partitions: readonly number[];
  }[];
  readonly partitions: readonly {
    readonly partition: number;
    readonly owner: { readonly name: string; readonly id: string } | null;
    readonly committed: number | null;
    readonly begin: number;
    readonly end: number;
    readonly lag: number | null;
    readonly fence: number | null;
    readonly frontier: { readonly event_time: string; readonly state: string } | null;
    readonly trouble: string | null;
  }[];
  readonly store_fault: string | null;
  readonly remarks: readonly { readonly what: string; readonly of: string | number | null }[];
}

function statusIn({ code, stdout, stderr }: Ended): Status {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Status;
}

const start = (job: SuiteJob, name: string) => job.start(['run'], ['--set', `source.kafka.process_name=${name}`]);
const run = (job: SuiteJob, ...more: string[]) => job.run(['fleet', 'status'], more);

async function statusOf(job: SuiteJob, ...more: string[]): Promise<Status> {
  return statusIn(await run(job, '--json', ...more));
}

async function until(job: SuiteJob, holds: (status: Status) => boolean): Promise<Status> {
  for (;;) {
    const answer = await run(job, '--json');
    // 3: until the first process has joined the group.
    const status = answer.code === 3 ? undefined : statusIn(answer);
    if (status !== undefined && holds(status)) return status;
    expectNoFault();
  }
}

const isShared = (count: number) => (status: Status) =>
  status.state === 'Stable' &&
  status.members.length === count &&
  status.partitions.every(({ owner }) => owner !== null);
const remarked = ({ remarks }: Status) => remarks.map(({ what, of }) => [what, of]);

/** What Kafka's own tool says of each partition: committed, end, lag and the member that has it, "-" for none. */
async function byKafka(group: string): Promise<(readonly [number, number, number, number, string])[]> {
  const broker = ['--bootstrap-server', services.kafka.brokers.join(','), '--group', group, '--describe'];
  const text = await services.kafka.tool(groupTool, broker);
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([name, topic]) => name === group && topic === `${group}.in`)
    .map(([, , partition, ...of]) => [Number(partition), Number(of[0]), Number(of[1]), Number(of[2]), of[3]] as const)
    .sort(([a], [b]) => a - b);
}

describe('weir fleet status on Kafka', () => {
  it('shows who has what and how far it is, as the distribution does, and leaves the group alone', async () => {
    const name = 'fleet';
    const job = await createJob(name);
    const { code, stderr } = await run(job);
    expect({ code, stderr }).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(`group ${name} does not exist`),
    });

    start(job, 'one');
    await until(job, isShared(1));
    start(job, 'two');
    await until(job, isShared(2));
    await job.produce(rows);
    await job.waitForPublished(rowCount);
    const isSettled = ({ partitions: all }: Status) =>
      all.every(({ lag, fence, committed }) => lag === 0 && fence === committed);
    const status = await until(job, (seen) => isShared(2)(seen) && isSettled(seen));
    expect(status.members.map((member) => [member.name, member.partitions.length]).sort()).toEqual([
      ['one-0', 2],
      ['two-0', 2],
    ]);
    for (const { owner, partition } of status.partitions) {
      expect(status.members.find(({ id }) => id === owner!.id)).toMatchObject({ name: owner!.name });
      expect(status.members.find(({ id }) => id === owner!.id)!.partitions).toContain(partition);
    }
    expect(status.partitions.map((of) => [of.partition, of.committed, of.end, of.lag, of.owner!.id])).toEqual(
      await byKafka(name),
    );
    const newest = rows.reduce((latest, { ts_ms }) => Math.max(latest, ts_ms), 0);
    for (const { frontier } of status.partitions) expect(Date.parse(frontier!.event_time)).toBeLessThanOrEqual(newest);
    expect(status.protocol).toBe('weir-sticky');
    // The second generation is that of both.
    expect(status.generation_at_least).toBeGreaterThanOrEqual(2);
    expect(remarked(status)).toEqual([]);

    const again = await statusOf(job);
    expect(again.generation_at_least).toBe(status.generation_at_least);
    expect(again.members).toEqual(status.members);
    const { stdout } = await run(job);
    expect(stdout).toMatch(
      /^Group fleet in topic fleet\.in: Stable, generation \d+ or later, shared out by weir-sticky; 0 records behind\n/,
    );
    expect(stdout).toMatch(/^ +0 {2}(one|two)-0 /m);
    expect(stdout).toContain('Nothing wants attention.');
  }, 240_000);

  it('points out members without partitions, a group without members, what the store says of it, and a store that is away', async () => {
    const name = 'attention';
    const job = await createJob(name);
    const running = Array.from({ length: partitions + 1 }, (_, index) => start(job, `p${index}`));
    const many = await until(job, isShared(partitions + 1));
    const [idle] = many.members.filter((member) => member.partitions.length === 0);
    expect(remarked(many)).toEqual([['idle-member', idle.name]]);

    await job.produce(rows);
    await job.waitForPublished(rowCount);
    for (const weir of running) weir.kill('SIGTERM');
    for (const weir of running) expect(await weir.ended()).toBe(0);
    await job.produce(rows.slice(0, 10));
    const empty = await statusOf(job);
    expect(empty).toMatchObject({ state: 'Empty', members: [], generation_at_least: null, store_fault: null });
    expect(empty.partitions.reduce((sum, { lag }) => sum + lag!, 0)).toBe(10);
    expect(empty.partitions.map(({ owner }) => owner)).toEqual(empty.partitions.map(() => null));
    expect(remarked(empty)).toEqual([['no-members', null]]);

    const reset = ['--group', name, '--topic', `${name}.in:1`, '--reset-offsets', '--to-earliest', '--execute'];
    await services.kafka.tool(groupTool, ['--bootstrap-server', services.kafka.brokers.join(','), ...reset]);
    const ahead = await statusOf(job);
    expect(remarked(ahead)).toEqual([
      ['no-members', null],
      ['state-ahead', 1],
    ]);

    const redisAway = ['--set', 'state.redis.url=redis://127.0.0.1:1', '--set', 'state.redis.connect_timeout_ms=500'];
    const away = await statusOf(job, ...redisAway);
    expect(away.partitions.map(({ fence, trouble }) => [fence, trouble])).toEqual(
      away.partitions.map(() => [null, null]),
    );
    expect(away.partitions.map(({ lag }) => lag)).toEqual(ahead.partitions.map(({ lag }) => lag));
    expect(remarked(away)).toEqual([
      ['no-members', null],
      ['store-away', null],
    ]);
  }, 240_000);

  it('shows who has what also where a file has the positions, and says what is missing', async () => {
    const job = await createJob('to-file', {
      'sink.kafka': 'null',
      'sink.file.path': join(folder, 'risk.jsonl'),
      'sink.file.dead_letters': join(folder, 'dead.jsonl'),
    });
    start(job, 'one');
    const status = await until(job, isShared(1));
    expect(status.partitions.map(({ lag, trouble }) => [lag, trouble])).toEqual(
      status.partitions.map(() => [null, null]),
    );
    expect((await run(job)).stdout).toContain("the file sink's checkpoint has the positions");

    const nowhere = await run(job, '--set', 'source.kafka.topic=nowhere');
    expect(nowhere).toMatchObject({ code: 3, stderr: expect.stringContaining('topic nowhere') });
  }, 120_000);

  it('has nothing to say of a job that reads a file', async () => {
    const { code, stderr } = await runWeir(['fleet', 'status', '--config', 'examples/demo/weir.yaml']);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('one process does that') });
  });
});
