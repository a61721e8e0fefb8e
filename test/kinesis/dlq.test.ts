import { PutRecordCommand, SplitShardCommand } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import { type Ended, endedWell, kinesisSuite } from '../support/suite.ts';

const rows = await readHandbook(60);
const { kinesis, env, run } = await kinesisSuite();

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
});
