import { describe, expect, it } from '@jest/globals';
import { bruteForceFeatures, differences, readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import type { TopicRecord } from '../support/kafka.ts';
import { kafkaSuite, type SuiteJob } from '../support/suite.ts';

const rowCount = 1_000;
const rows = await readHandbook(rowCount);
const wanted = bruteForceFeatures(rows);
const { kafka, createJob } = await kafkaSuite();

const linesOf = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);

interface Listed {
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly cut: boolean;
  readonly replayed: number | null;
}

const list = async (job: SuiteJob, more: readonly string[] = []) =>
  linesOf<Listed>(await job.runWell(['dlq', 'list'], [...more, '--json']));

const tooSmall = ['--set', 'event.max_bytes=1000'];
const padding = 'x'.repeat(1_000);

/** A job of which every k-th record was too long for its config, and two are no JSON. */
async function jobWithLetters(name: string, every: number) {
  const job = await createJob(name);
  await kafka.produce(
    `${name}.in`,
    rows.map(({ transaction_id, ts_ms, customer_id, terminal_id, amountMinor, fraud }, index) => {
      const amount = (amountMinor / 100).toFixed(2);
      const pad = index % every === 0 ? { padding } : {};
      const record = { transaction_id, ts_ms, customer_id, terminal_id, amount, fraud, ...pad };
      return { key: customer_id, value: JSON.stringify(record) };
    }),
  );
  await kafka.produce(
    `${name}.in`,
    ['{"half":', 'bytes'].map((value) => ({ key: 'broken', value })),
  );
  await job.runWell(['run'], [...tooSmall, '--until-end']);
  return { job, long: rows.filter((_, index) => index % every === 0) };
}

const positionOf = ({ headers }: TopicRecord) => `${headers['weir-partition']}:${headers['weir-offset']}`;
const isMark = ({ headers }: TopicRecord) => headers['weir-replayed'] !== undefined;

/** Every letter that the config can read has one mark, which says where its record is, once, as it was. */
async function expectReplayedOnce(name: string, job: SuiteJob, count: number): Promise<void> {
  const dead = await job.deadLetters();
  const marks = dead.filter(isMark);
  expect(marks).toHaveLength(count);
  expect(new Set(marks.map(positionOf)).size).toBe(count);
  expect(marks.filter(({ key, value }) => key !== null || value !== '')).toEqual([]);
  const input = await kafka.readCommitted(`${name}.in`);
  expect(input).toHaveLength(rowCount + 2 + count);
  const at = (partition: string, offset: string) =>
    input.find((record) => record.partition === Number(partition) && record.offset === Number(offset))!;
  for (const { headers, partition } of marks) {
    const original = at(headers['weir-partition'], headers['weir-offset']);
    const again = at(headers['weir-partition'], headers['weir-replayed']);
    expect(again).toEqual({ ...original, offset: again.offset });
    expect(again.offset).toBeGreaterThan(original.offset);
    expect(partition).toBe(original.partition);
  }
}

describe('weir dlq', () => {
  it('lists and shows letters, and puts back what a mended config reads, which is then scored', async () => {
    const { job, long } = await jobWithLetters('mended', 20);
    const letters = await list(job);
    expect(letters).toHaveLength(long.length + 2);
    expect(letters.every(({ cut, replayed }) => !cut && replayed === null)).toBe(true);
    expect(await list(job, ['--reason', 'not-json'])).toHaveLength(2);
    expect(await list(job, ['--reason', 'not-json', '--reason', 'oversized'])).toHaveLength(letters.length);
    const [first] = letters;
    const one = ['--partition', String(first.partition), '--offset', String(first.offset)];
    expect(await list(job, one)).toEqual([first]);
    expect(await list(job, ['--since', '2999-01-01T00:00:00Z'])).toEqual([]);
    const none = `None of the ${letters.length} dead letters matches.\n`;
    expect(await job.runWell(['dlq', 'list'], ['--since', '2999-01-01T00:00:00Z'])).toBe(none);
    expect(await job.runWell(['dlq', 'replay'], ['--reason', 'future-time'])).toBe(
      `${none}0 put back, 0 were before, 0 left: 0 would fail again, 0 cut, 0 of another topic\n`,
    );
    const text = await job.runWell(['dlq', 'list']);
    expect(text).toMatch(/^partition +offset +written +reason +replayed as +message\n/);
    expect(text.trimEnd().split('\n')).toHaveLength(letters.length + 1);
    const shown = await job.runWell(['dlq', 'show', String(first.partition), String(first.offset)]);
    expect(shown).toContain(`offset:         ${first.offset}\n`);
    expect(shown).toContain(`"padding":"${padding}"`);
    const [whole] = linesOf<{ timestamp: string; value: { text: string } }>(
      await job.runWell(['dlq', 'show', String(first.partition), String(first.offset)], ['--json']),
    );
    const input = await kafka.readCommitted('mended.in');
    const original = input.find(({ partition, offset }) => partition === first.partition && offset === first.offset)!;
    expect(whole.value).toEqual({ text: original.value });
    expect(Date.parse(whole.timestamp)).toBe(original.timestamp);

    // As the config is, nothing can be read: nothing is put back.
    expect(await job.runWell(['dlq', 'replay'], [...tooSmall, '--all'])).toMatch(
      new RegExp(`^0 put back, 0 were before, ${letters.length} left: ${letters.length} would fail again`, 'm'),
    );
    const dry = await job.runWell(['dlq', 'replay'], ['--all', '--dry-run']);
    expect(dry).toContain(`${long.length} would be put back, 0 were before, 2 left: 2 would fail again`);
    expect(dry).toMatch(/^partition \d, offset \d+: not-json: not JSON/m);
    await expectReplayedOnce('mended', job, 0);

    expect(await job.runWell(['dlq', 'replay'], one)).toBe(
      '1 put back, 0 were before, 0 left: 0 would fail again, 0 cut, 0 of another topic\n',
    );
    expect(await job.runWell(['dlq', 'replay'], ['--all'])).toContain(
      `${long.length - 1} put back, 1 were before, 2 left`,
    );
    expect(await job.runWell(['dlq', 'replay'], ['--all'])).toContain(`0 put back, ${long.length} were before, 2 left`);
    await expectReplayedOnce('mended', job, long.length);
    expect((await list(job, ['--reason', 'oversized'])).filter(({ replayed }) => replayed === null)).toEqual([]);

    await job.runWell(['run'], ['--until-end']);
    const published = await job.published();
    expect(published).toHaveLength(rowCount);
    const marked = (await job.deadLetters())
      .filter(isMark)
      .map(({ headers }) => `${headers['weir-stream']}:${headers['weir-partition']}:${headers['weir-replayed']}`);
    const late = published.filter(({ headers }) => marked.includes(headers.ce_id));
    expect(late.map(({ data }) => data.transaction_id).sort()).toEqual(
      long.map(({ transaction_id }) => transaction_id).sort(),
    );
    // Each is scored at its own time, with all that was before it.
    const faults = late.flatMap(({ data }) =>
      differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'customer.'),
    );
    expect(faults.slice(0, 5)).toEqual([]);
  }, 200_000);

  it('puts each record back once, though it is killed in the middle and two begin it at the same time', async () => {
    const { job, long } = await jobWithLetters('twice', 2);
    const killed = job.start(['dlq', 'replay'], ['--all', '--json']);
    while (!killed.stdout().includes('"replayed"') && killed.child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 1));
    killed.kill('SIGKILL');
    await killed.ended();
    const both = await Promise.all([1, 2].map(() => job.run(['dlq', 'replay'], ['--all'])));
    for (const { code, stderr } of both) {
      if (code !== 0) expect({ code, stderr }).toEqual({ code: 8, stderr: expect.stringContaining('somebody else') });
    }
    expect(both.some(({ code }) => code === 0)).toBe(true);
    await job.runWell(['dlq', 'replay'], ['--all']);
    await expectReplayedOnce('twice', job, long.length);
  }, 200_000);

  it('puts back records that are longer together than the brokers take at once', async () => {
    const job = await createJob('long');
    const values = rows.slice(0, 3).map((row) => {
      const whole = handbookRecord(row).value;
      return `${whole.slice(0, -1)},"padding":"${'x'.repeat(600_000)}"}`;
    });
    for (const value of values) await kafka.produce('long.in', [{ key: 'a', value, partition: 0 }]);
    await job.runWell(['run'], [...tooSmall, '--until-end']);
    expect(await job.runWell(['dlq', 'replay'], ['--all'])).toContain('3 put back');
    expect((await kafka.readCommitted('long.in')).map(({ value }) => value)).toEqual([...values, ...values]);
  }, 200_000);

  it('refuses what it cannot put back, and says why', async () => {
    const job = await createJob('cut');
    await kafka.produce('cut.in', [{ key: 'a', value: `{"half":"${'x'.repeat(30_000)}` }]);
    await job.runWell(['run'], ['--set', 'sink.kafka.max_message_bytes=10000', '--until-end']);
    const [{ partition, offset, cut }] = await list(job);
    expect(cut).toBe(true);
    expect(await job.runWell(['dlq', 'replay'], ['--all'])).toMatch(
      new RegExp(`^partition ${partition}, offset ${offset}: the letter has only 8\\d{3} of 30009 bytes`),
    );
    const refusals: [string[], string[], number, string][] = [
      [
        ['dlq', 'list'],
        ['--reason', 'missing-feld'],
        2,
        'no dead letter has the reason "missing-feld": the reasons are not-json,',
      ],
      [['dlq', 'replay'], ['--reason', 'toString'], 2, 'no dead letter has the reason "toString"'],
      [['dlq', 'list'], ['--partition', '17'], 2, 'topic cut.in has no partition 17: it has 4, from 0'],
      [['dlq', 'replay'], ['--partition', '99', '--offset', '3'], 2, 'topic cut.in has no partition 99: it has 4'],
      [
        ['dlq', 'list'],
        ['--partition', '2', '--offset', '99'],
        3,
        'there is no dead letter of partition 2, offset 99:',
      ],
      [
        ['dlq', 'replay'],
        ['--partition', '2', '--offset', '99'],
        3,
        'there is no dead letter of partition 2, offset 99:',
      ],
      [
        ['dlq', 'replay'],
        ['--partition', String(partition), '--offset', String(offset), '--reason', 'no-value'],
        3,
        `there is no dead letter of partition ${partition}, offset ${offset} that --reason and --since take: `,
      ],
      [['dlq', 'replay'], [], 2, 'say which: --all, or some of'],
      [['dlq', 'replay'], ['--all', '--partition', '1'], 2, 'say which'],
      [['dlq', 'list'], ['--offset', '1'], 2, '--offset goes with --partition'],
      [['dlq', 'show', '3', '99'], [], 3, 'there is no dead letter of partition 3, offset 99'],
      [['dlq', 'list'], ['--set', 'sink.kafka.dead_letters=nowhere'], 7, 'topic nowhere does not exist'],
      [
        ['dlq', 'replay'],
        ['--all', '--set', 'delivery=at-least-once', '--set', 'sink.kafka.brokers=["elsewhere:1"]'],
        2,
        'they are in two clusters here',
      ],
      [
        ['dlq', 'list'],
        ['--set', 'sink.kafka=null', '--set', 'sink.file.path=x.jsonl', '--set', 'sink.file.dead_letters=y.jsonl'],
        2,
        'dead letters are lines of the file',
      ],
    ];
    for (const [command, more, code, sentence] of refusals)
      expect(await job.run(command, more)).toMatchObject({
        code,
        stdout: '',
        stderr: expect.stringContaining(sentence),
      });
  }, 200_000);
});
