import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { runWeir } from '../support/weir-process.ts';

const lines = simulatedLines(3_000);
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-mismatch-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const remove = (...names: string[]) => {
  for (const name of names) rmSync(join(folder, name), { recursive: true });
};

async function run(...more: string[]) {
  const { args, env } = demoJob(folder);
  const { code, stdout, stderr } = await runWeir([...args, ...more], env);
  return { code, stderr, summary: code === 0 ? (JSON.parse(stdout) as Record<string, unknown>) : undefined };
}

const scoredIds = () =>
  readFileSync(join(folder, 'risk.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { data: { transaction_id: string } }).data.transaction_id);
const idOf = (line: string) => (JSON.parse(line) as { id: string }).id;

describe('files that do not fit together', () => {
  it('refuses state that is ahead of an output that was deleted, and begins anew without it', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), lines);
    expect(await run()).toMatchObject({ code: 0 });
    remove('risk.jsonl', 'risk.jsonl.checkpoint', 'dead-letters.jsonl');
    const { code, stderr } = await run();
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /the state of transactions\.jsonl:0 reaches offset 3000, but its output only 0: .*weir offsets reset --to-offset 0 --partition 0.*empty the state, or give the job another name/,
    );
    remove('state');
    expect(await run()).toMatchObject({ code: 0, summary: { published: 3000 } });
  });

  it('refuses to write over an output whose checkpoint was deleted', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), lines);
    await run();
    remove('risk.jsonl.checkpoint', 'state');
    const { code, stderr } = await run();
    expect(code).toBe(7);
    expect(stderr).toMatch(/risk\.jsonl has \d+ bytes, but there is no checkpoint/);
    expect(scoredIds()).toEqual(lines.map(idOf));
  });

  it('says that an input is shorter than it was, whether it has to recover state from it or not', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), lines);
    await run();
    await writeLines(join(folder, 'transactions.jsonl'), lines.slice(0, 2_000));
    for (const fault of [/has 2000 records, but 3000 were read/, /ends at 2000, but it was read to 3000 before/]) {
      const { code, stderr } = await run();
      expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(fault) });
      rmSync(join(folder, 'state'), { recursive: true, force: true });
    }
    await writeLines(join(folder, 'transactions.jsonl'), lines);
    expect(await run()).toMatchObject({ code: 0, summary: { published: 0 } });
  });

  it('ends with the reason when the disk is full, and goes on once there is room', async () => {
    const disk = join(folder, 'small');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      // Not allowed here; test/file/sink.test.ts has a way without.
      return;
    }
    try {
      await writeLines(join(folder, 'transactions.jsonl'), lines);
      const to = ['--set', `sink.file.path=${join(disk, 'risk.jsonl')}`, '--set', 'state.flush_interval_ms=10'];
      for (let attempt = 0; attempt < 2; attempt++) {
        const { code, stderr } = await run(...to);
        expect({ code, stderr }).toEqual({
          code: 7,
          stderr: expect.stringMatching(/the disk is full; what is committed/),
        });
      }
      execFileSync('mount', ['-o', 'remount,size=64m', disk]);
      expect(await run(...to)).toMatchObject({ code: 0 });
      execFileSync('cp', [join(disk, 'risk.jsonl'), folder]);
      expect(scoredIds()).toEqual(lines.map(idOf));
    } finally {
      execFileSync('umount', ['--lazy', disk]);
    }
  });

  it('names the CSV column that the header does not have', async () => {
    const path = join(folder, 'transactions.csv');
    await writeLines(path, ['id,ts,typ', '1,2,3']);
    const { code, stderr } = await run('--set', `source.file.path=${path}`);
    expect(code).toBe(2);
    expect(stderr).toMatch(/but the CSV input has no column .*; its columns are id, ts, typ/);
  });
});
