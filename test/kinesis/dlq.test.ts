import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  ListShardsCommand,
  PutRecordCommand,
  SplitShardCommand,
} from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { awsFront } from '../support/aws-front.ts';
import { bruteForceFeatures, differences, readHandbook } from '../support/handbook.ts';
import { handbookRecord, type PublishedRecord } from '../support/handbook-job.ts';
import { type Ended, endedWell, kinesisSuite } from '../support/suite.ts';

const rows = await readHandbook(400);
const wanted = bruteForceFeatures(rows);
const { kinesis, services, env, start, run } = await kinesisSuite();

const tooSmall = ['--set', 'event.max_bytes=1000'];
const padding = 'x'.repeat(1_000);
/** Longer than the config takes that the job runs with at first. */
const long = (from: number, to: number) =>
  rows.slice(from, to).map((row) => {
    const { key, value } = handbookRecord(row);
    return { key, value: `${value.slice(0, -1)},"padding":"${padding}"}` };
  });

interface Listed {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly bytes: number;
  readonly cut: boolean;
  readonly replayed: string | null;
}

const linesOf = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);

/** The Handbook job between streams of its own name. */
function jobOf(name: string) {
  const settings = {
    job: name,
    'source.kinesis.stream': name,
    'source.kinesis.application': name,
    'source.kinesis.shard_sync_interval_ms': 1_000,
    'sink.kinesis.stream': `${name}-scored`,
    'sink.kinesis.dead_letters': `${name}-dead`,
    'metrics.port': 0,
    'log.level': 'warn',
  };
  const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const options = ['--config', 'examples/handbook/kinesis.yaml', ...set];
  const weir = (command: readonly string[], more: readonly string[] = []): Promise<Ended> =>
    run([...command, ...options, ...more], env);
  const say = (sign: object) => kinesis.put(`${name}-dead`, [{ key: 'weir-dlq-replay', value: JSON.stringify(sign) }]);
  const well = async (command: readonly string[], more: readonly string[] = []) => endedWell(await weir(command, more));
  return {
    dead: `${name}-dead`,
    weir,
    well,
    async create(shards: number) {
      for (const stream of [name, `${name}-scored`, `${name}-dead`]) await kinesis.createStream(stream, shards);
    },
    put: (records: readonly { readonly key: string; readonly value: string }[]) => kinesis.put(name, records),
    /** Reads to the end, with a config that cannot read long records. */
    score: () => well(['run'], [...tooSmall, '--until-end']),
    startReplay: () => start(['dlq', 'replay', ...options, '--all', '--json'], env),
    replay: (...more: string[]) => well(['dlq', 'replay'], more),
    say,
    /** As a replay that has marked nothing. */
    async announce(letters: readonly Listed[]) {
      const records = letters.map(({ stream, partition, offset }) => ({ stream, partition, offset }));
      await say({ replay: 'putting', run: 'a', records });
      await say({ replay: 'ended', run: 'a' });
    },
    /** Which run has said something last. */
    async lastRun() {
      const said = await kinesis.read(`${name}-dead`);
      return (JSON.parse(said.at(-1)!.value) as { readonly run: string }).run;
    },
    list: async (...more: string[]) => linesOf<Listed>(await well(['dlq', 'list'], [...more, '--json'])),
  };
}

async function splitFirstShard(StreamName: string): Promise<void> {
  const ShardToSplit = 'shardId-000000000000';
  // In the middle of its hash keys, of two shards.
  await kinesis.client.send(
    new SplitShardCommand({ StreamName, ShardToSplit, NewStartingHashKey: String(2n ** 126n) }),
  );
}

describe('weir dlq on Kinesis', () => {
  it('lists and shows letters of all shards, of those that were split as well', async () => {
    const job = jobOf('letters');
    await job.create(2);
    expect(await job.well(['dlq', 'list'])).toBe('No dead letters.\n');
    await job.put(long(0, 20));
    await job.score();
    await splitFirstShard(job.dead);
    await job.put(long(20, 40));
    const bytes = Buffer.from([0xff, 0x00, 0x7b]);
    const broken = { StreamName: 'letters', PartitionKey: 'größe', Data: bytes };
    await kinesis.client.send(new PutRecordCommand(broken));
    await kinesis.put(job.dead, [{ key: 'somebody', value: '{"else":1}' }]);
    await job.score();

    const letters = await job.list();
    expect(letters).toHaveLength(41);
    expect(new Set(letters.map(({ partition, offset }) => `${partition}:${offset}`)).size).toBe(41);
    expect(new Set((await kinesis.read(job.dead)).map(({ shard }) => shard)).size).toBeGreaterThan(2);
    for (const letter of letters) expect(letter).toMatchObject({ stream: 'letters', cut: false, replayed: null });
    const [odd] = await job.list('--reason', 'not-json');
    expect(odd).toMatchObject({ reason: 'not-json', bytes: bytes.length });
    const one = ['--partition', String(odd.partition), '--offset', String(odd.offset)];
    expect(await job.list(...one)).toEqual([odd]);
    expect(await job.list('--reason', 'oversized')).toHaveLength(40);
    const none = 'None of the 41 dead letters matches.\n';
    expect(await job.well(['dlq', 'list'], ['--since', '2999-01-01T00:00:00Z'])).toBe(none);
    expect((await job.well(['dlq', 'list'])).trimEnd().split('\n')).toHaveLength(42);

    const show = ['dlq', 'show', String(odd.partition), String(odd.offset)];
    const [shown] = linesOf<{ key: object; value: object; letter: { shard: string; sequence: string } }>(
      await job.well(show, ['--json']),
    );
    expect(shown).toMatchObject({ key: { text: 'größe' }, value: { base64: bytes.toString('base64') } });
    expect(shown.letter).toMatchObject({
      shard: expect.stringMatching(/^shardId-\d{12}$/),
      sequence: expect.stringMatching(/^\d{50,}$/),
    });
    const text = await job.well(show);
    expect(text).toContain(`letter:         ${shown.letter.shard}, sequence number ${shown.letter.sequence}\n`);
    expect(text).toContain('value, 3 bytes in hexadecimal digits:\nff007b\n');
  }, 200_000);

  it('refuses what there is not, and says so', async () => {
    const job = jobOf('refused');
    await job.create(1);
    const refusals: [string[], string[], number, string][] = [
      [['dlq', 'list'], ['--partition', '17'], 2, 'stream refused has no shard 17: the number of its last is 0'],
      [['dlq', 'list'], ['--partition', '0', '--offset', '9'], 3, 'there is no dead letter of partition 0, offset 9'],
      [['dlq', 'show', '0', '9'], [], 3, 'there is no dead letter of partition 0, offset 9'],
      [['dlq', 'list'], ['--set', 'sink.kinesis.dead_letters=nowhere'], 7, 'stream nowhere'],
    ];
    for (const [command, more, code, sentence] of refusals)
      expect(await job.weir(command, more)).toMatchObject({
        code,
        stdout: '',
        stderr: expect.stringContaining(sentence),
      });
  }, 200_000);

  it('puts back what a mended config reads, under its key, once; it is then scored as if it had never failed', async () => {
    const job = jobOf('mended');
    await job.create(2);
    const isLong = (index: number) => index % 10 === 0;
    const put = rows.map((row, index) => (isLong(index) ? long(index, index + 1)[0] : handbookRecord(row)));
    const late = put.filter((_, index) => isLong(index));
    await job.put([...put, { key: 'broken', value: '{"half":' }]);
    await job.score();
    expect(await job.list()).toHaveLength(late.length + 1);

    expect(await job.replay(...tooSmall, '--all')).toMatch(
      new RegExp(`^0 put back, 0 were before, ${late.length + 1} left: ${late.length + 1} would fail again`, 'm'),
    );
    const dry = await job.replay('--all', '--dry-run');
    expect(dry).toContain(`${late.length} would be put back, 0 were before, 1 left: 1 would fail again`);
    expect(await kinesis.read('mended')).toHaveLength(put.length + 1);

    const [first] = await job.list('--reason', 'oversized');
    const one = ['--partition', String(first.partition), '--offset', String(first.offset)];
    expect(await job.replay(...one)).toBe(
      '1 put back, 0 were before, 0 left: 0 would fail again, 0 cut, 0 of another stream\n',
    );
    expect(await job.replay('--all')).toContain(`${late.length - 1} put back, 1 were before, 1 left`);
    expect(await job.replay('--all')).toContain(`0 put back, ${late.length} were before, 1 left`);
    await expectReplayedOnce('mended', put.length + 1, late, await job.list());

    await job.well(['run'], ['--until-end']);
    const scored = (await kinesis.read('mended-scored')).map(({ value }) => JSON.parse(value) as PublishedRecord);
    expect(scored.map(({ data }) => data.transaction_id).sort()).toEqual(
      rows.map(({ transaction_id }) => transaction_id).sort(),
    );
    const faults = scored
      .slice(-late.length)
      .flatMap(({ data }) =>
        differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'customer.'),
      );
    expect(faults.slice(0, 5)).toEqual([]);
    expect(await job.list()).toHaveLength(late.length + 1);
  }, 200_000);

  it('puts each record back once, though it is killed in the middle and two begin it at the same time', async () => {
    const job = jobOf('twice');
    await job.create(2);
    const records = long(0, rows.length);
    await job.put(records);
    await job.score();
    const killed = job.startReplay();
    while (!killed.stdout().includes('"replayed"') && killed.child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 1));
    killed.kill('SIGKILL');
    await killed.ended();
    for (let hasEnded = false; !hasEnded; ) {
      const both = await Promise.all([1, 2].map(() => job.weir(['dlq', 'replay'], ['--all'])));
      for (const { code, stderr } of both) {
        if (code !== 0)
          expect({ code, stderr }).toEqual({ code: 8, stderr: expect.stringContaining('another replay') });
      }
      hasEnded = both.some(({ code }) => code === 0);
    }
    await expectReplayedOnce('twice', records.length, records, await job.list());
  }, 200_000);

  it('finds what a replay has put back without marking it, and leaves the turn to one that may be at work', async () => {
    const job = jobOf('doubt');
    await job.create(2);
    const records = long(0, 4);
    await job.put([...records, records[3]]);
    await job.score();
    await job.announce(await job.list());
    await job.put([records[1], records[3]]);
    await job.say({ replay: 'begun', run: 'b' });
    for (const _ of [1, 2])
      expect(await job.weir(['dlq', 'replay'], ['--all'])).toMatchObject({
        code: 8,
        stdout: '',
        stderr: expect.stringContaining('another replay is under way, or was ended before it was done'),
      });
    expect(await kinesis.read('doubt')).toHaveLength(records.length + 1 + 2);
    await job.say({ replay: 'ended', run: 'b' });
    expect(await job.replay('--all')).toContain('3 put back, 2 were before, 0 left');
    await expectReplayedOnce('doubt', 5, [...records, records[3]], await job.list());
  }, 200_000);

  it('finds a copy that seems older than the word that announced it, since the clocks of the streams differ', async () => {
    const job = jobOf('behind');
    await job.create(1);
    const [record] = long(0, 1);
    await job.put([record]);
    await job.score();
    const [letter] = await job.list();
    await job.put([record]);
    await job.announce([letter]);
    expect(await job.replay('--all')).toContain('0 put back, 1 were before, 0 left');
    await expectReplayedOnce('behind', 1, [record], await job.list());
  }, 200_000);

  it('takes a record that Kinesis does not answer for as one in doubt', async () => {
    const job = jobOf('short');
    await job.create(1);
    const [record] = long(0, 1);
    await job.put([record]);
    await job.score();
    const front = await awsFront(services.kinesis);
    front.pretend('PutRecords', { FailedRecordCount: 0, Records: [] });
    const endpoints = [`source.kinesis.endpoint=${front.url}`, `sink.kinesis.endpoint=${services.kinesis.url}`];
    const short = await job.weir(['dlq', 'replay'], ['--all', ...endpoints.flatMap((set) => ['--set', set])]);
    await front.close();
    expect(short).toMatchObject({ code: 4, stderr: expect.stringContaining('answers for 0 of 1 records to short') });
    // It leaves what it began in doubt, and the next one would wait for it.
    await job.say({ replay: 'ended', run: await job.lastRun() });
    expect(await job.replay('--all')).toContain('1 put back, 0 were before, 0 left');
    await expectReplayedOnce('short', 1, [record], await job.list());
  }, 200_000);

  it('takes neither the copy of one letter for that of an equal one, nor the record of one', async () => {
    const job = jobOf('equal');
    await job.create(1);
    const [record] = long(0, 1);
    await job.put([record]);
    await job.score();
    await job.put([record]);
    await job.score();
    const letters = await job.list();
    await job.announce(letters);
    expect(await job.replay('--partition', '0', '--offset', String(letters[0].offset))).toContain('1 put back');
    expect(await job.replay('--all')).toContain('1 put back, 1 were before, 0 left');
    await expectReplayedOnce('equal', 2, [record, record], await job.list());
  }, 200_000);
});

/** Each of the records is twice in the stream, and its letter says where the second is. */
async function expectReplayedOnce(
  stream: string,
  before: number,
  records: readonly { readonly key: string; readonly value: string }[],
  letters: readonly Listed[],
): Promise<void> {
  const all = await readPlaces(stream);
  expect(all).toHaveLength(before + records.length);
  const places = letters.flatMap(({ replayed }) => replayed ?? []);
  expect(new Set(places).size).toBe(records.length);
  const again = places.map((place) => all.find((record) => record.place === place)!);
  const textOf = ({ key, value }: { readonly key: string; readonly value: string }) => `${key} ${value}`;
  expect(again.map(textOf).sort()).toEqual(records.map(textOf).sort());
}

async function readPlaces(StreamName: string) {
  const { Shards } = await kinesis.client.send(new ListShardsCommand({ StreamName }));
  const read = Shards!.map(async ({ ShardId }) => {
    const start = { StreamName, ShardId: ShardId!, ShardIteratorType: 'TRIM_HORIZON' } as const;
    const { ShardIterator } = await kinesis.client.send(new GetShardIteratorCommand(start));
    const { Records } = await kinesis.client.send(new GetRecordsCommand({ ShardIterator }));
    return Records!.map(({ PartitionKey, Data, SequenceNumber }) => ({
      key: PartitionKey!,
      value: Buffer.from(Data!).toString(),
      place: `${ShardId}:${SequenceNumber}`,
    }));
  });
  return (await Promise.all(read)).flat();
}
