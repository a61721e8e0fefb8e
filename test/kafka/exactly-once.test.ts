import { createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { bruteForceFeatures, differences, handbookHeader, readHandbook } from '../support/handbook.ts';
import { expectExactlyOnce, noticesTheDeadSoon, type PublishedRecord } from '../support/handbook-job.ts';
import { endedWell, kafkaSuite } from '../support/suite.ts';

/** `npm run handbook` runs the whole file. */
const rows = await readHandbook(Number(process.env.WEIR_TEST_HANDBOOK_ROWS ?? 50_000));
const wanted = bruteForceFeatures(rows);
const { services, folder, createJob, run } = await kafkaSuite();

/** Runs the command until the input's end, and expects that it ends well. */
async function runToEnd({ args, env }: { args: readonly string[]; env: Readonly<Record<string, string>> }) {
  return JSON.parse(endedWell(await run([...args, '--until-end', '--json'], env))) as {
    published: number;
    dead_letters: number;
  };
}

describe('the Handbook job, exactly once', () => {
  it('gives the same features from a file, all 15 equal to brute force', async () => {
    const input = join(folder, 'handbook.csv');
    writeFileSync(input, `${handbookHeader}\n${rows.map(({ line }) => line).join('\n')}\n`);
    const output = join(folder, 'risk.jsonl');
    const settings = {
      'state.embedded.path': join(folder, 'state'),
      'sink.file.path': output,
      'sink.file.dead_letters': join(folder, 'dead.jsonl'),
    };
    const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const args = ['run', '--config', 'examples/handbook/weir.yaml', ...overrides];
    expect(await runToEnd({ args, env: { HANDBOOK_CSV: input } })).toMatchObject({
      published: rows.length,
      dead_letters: 0,
    });
    // Line by line: the whole file's output is larger than a string can be.
    let seen = 0;
    for await (const line of createInterface({ input: createReadStream(output) })) {
      const { transaction_id, features } = (JSON.parse(line) as { data: PublishedRecord['data'] }).data;
      if (transaction_id !== rows[seen].transaction_id) expect(transaction_id).toBe(rows[seen].transaction_id);
      const faults = differences(transaction_id, features, wanted.get(transaction_id)!);
      if (faults.length > 0) expect(faults).toEqual([]);
      seen++;
    }
    expect(seen).toBe(rows.length);
    expect(readFileSync(join(folder, 'dead.jsonl'), 'utf8')).toBe('');
  }, 300_000);

  it('gives the same customer features through four partitions, Redis and transactions', async () => {
    const job = await createJob('whole');
    await job.produce(rows);
    expect(await runToEnd(job)).toMatchObject({ published: rows.length, dead_letters: 0 });
    const records = await job.published();
    expectExactlyOnce(records, rows, wanted);
    expect(await job.deadLetters()).toEqual([]);

    const ajv = new Ajv2020({ strict: false });
    addFormats.default(ajv);
    const validate = ajv.compile(JSON.parse(readFileSync('docs/schemas/risk-event.schema.json', 'utf8')));
    for (const { data } of records)
      expect({ data, faults: validate(data) ? [] : validate.errors }).toEqual({ data, faults: [] });
    expect(records[0].headers).toMatchObject({
      ce_specversion: '1.0',
      ce_type: 'weir.risk.scored.v1',
      ce_id: expect.stringMatching(/^whole\.in:\d:\d+$/),
      'content-type': 'application/json',
    });
  }, 300_000);

  it("is read by the Kafka distribution's own console consumer", async () => {
    const printed = await services.kafka.consoleConsumer([
      ...['--topic', 'whole.scored', '--from-beginning'],
      ...['--max-messages', '100', '--isolation-level', 'read_committed'],
    ]);
    const events = printed.split('\n').filter((line) => line.startsWith('{'));
    expect(events.map((line) => (JSON.parse(line) as { decision: string }).decision)).toHaveLength(100);
  }, 120_000);

  it('publishes each transaction once, with the same features, through three kill -9', async () => {
    const job = await createJob('killed', noticesTheDeadSoon);
    await job.produce(rows);
    for (const share of [0.15, 0.4, 0.7]) {
      const weir = job.start(['run']);
      const hasEnded = weir.ended().then((code) => {
        throw new Error(`weir ended with ${code} before it was killed: ${weir.stderr()}`);
      });
      await Promise.race([job.waitForPublished(Math.floor(rows.length * share)), hasEnded]);
      hasEnded.catch(() => undefined);
      weir.kill('SIGKILL');
      expect(await weir.ended()).toBe('SIGKILL');
    }
    await runToEnd(job);
    expectExactlyOnce(await job.published(), rows, wanted);
  }, 400_000);

  it('shares the partitions among processes', async () => {
    const job = await createJob('shared');
    await job.produce(rows);
    const stdout = await job.runWell(['run'], ['--until-end', '--json', '--processes', '2']);
    const each = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { published: number }).published);
    expect(each).toHaveLength(2);
    expect(each[0] + each[1]).toBe(rows.length);
    expectExactlyOnce(await job.published(), rows, wanted);
  }, 300_000);
});
