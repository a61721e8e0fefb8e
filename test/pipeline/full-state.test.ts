import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { runWeir, startWeir, type WeirProcess } from '../support/weir-process.ts';

/** Enough for the output of so few transactions, not for their state: a full disk, for one who may not mount a small one. */
const limited = ['bash', '-c', 'ulimit -S -f 64; exec "$0" "$@"'];
const count = 20;

let folder: string;
let weir: WeirProcess;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-full-'));
  await writeLines(join(folder, 'transactions.jsonl'), simulatedLines(count));
});
afterEach(async () => {
  weir.kill('SIGKILL');
  await weir.ended();
  rmSync(folder, { recursive: true, force: true });
});

/** Starts the job and waits until its state finds no room; that is before the last batch, so that it has to wait. */
async function startWithoutRoom(): Promise<void> {
  const { args, env } = demoJob(folder);
  const small = ['--set', 'batch.max_events=1', '--set', 'state.flush_interval_ms=0'];
  weir = startWeir([...args, ...small], env, limited);
  while (!weir.stderr().includes('state cannot be stored')) {
    if (weir.child.exitCode !== null) throw new Error(weir.stderr());
    await delay(10);
  }
}

const published = () => readFileSync(demoJob(folder).output, 'utf8').trimEnd().split('\n').length;

describe('a state folder without room', () => {
  it('lets the job be stopped, which says why it ends with 5; the next run makes good for it', async () => {
    await startWithoutRoom();
    weir.kill('SIGTERM');
    expect(await weir.ended()).toBe(5);
    const last = weir.stderr().trimEnd().split('\n').at(-1);
    expect(last).toMatch(
      /^weir: the state folder .*state cannot be written: the disk is full or fails .*; what is stored stays, and the rest is re-applied/,
    );
    // The stack of LMDB's own error.
    expect(weir.stderr()).not.toMatch(/^ +at /m);
    const { args, env } = demoJob(folder);
    expect(await runWeir(args, env)).toMatchObject({ code: 0 });
    expect(published()).toBe(count);
  });

  it('goes on by itself once there is room', async () => {
    await startWithoutRoom();
    execFileSync('prlimit', ['--pid', String(weir.child.pid), '--fsize=unlimited:']);
    expect(await weir.ended()).toBe(0);
    expect(published()).toBe(count);
  });

  it('is told at the start', async () => {
    const { args, env } = demoJob(folder);
    weir = startWeir(args, env, ['bash', '-c', 'ulimit -S -f 16; exec "$0" "$@"']);
    expect(await weir.ended()).toBe(5);
    expect(weir.stderr()).toMatch(/^weir: the state folder .*state cannot be written: EFBIG.*; make room/m);
  });
});
