import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { runWeir, startWeir, type WeirProcess } from '../support/weir-process.ts';

/** Room for an empty state and no more: a full disk, for one who may not mount a small one. */
const limited = ['bash', '-c', 'ulimit -S -f 64; exec "$0" "$@"'];
/** So many that it goes on for a while after that. */
const count = 10_000;

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

/** The demo job without output, which the limit is not for, in batches so small that its state is written long before the end. */
function job(): { args: string[]; env: Record<string, string> } {
  const settings = ['event.unscored=[authorization]', 'batch.max_events=1', 'state.flush_interval_ms=0'];
  const { args, env } = demoJob(folder);
  return { args: [...args, ...settings.flatMap((setting) => ['--set', setting])], env };
}

/** Starts the job and waits until its state finds no room. */
async function startWithoutRoom(): Promise<void> {
  const { args, env } = job();
  weir = startWeir(args, env, limited);
  let hasEnded = false;
  void weir.ended().then(() => {
    hasEnded = true;
  });
  while (!weir.stderr().includes('state cannot be stored')) {
    if (hasEnded) throw new Error(weir.stderr());
    await delay(2);
  }
}

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
    const { args, env } = job();
    expect(await runWeir(args, env)).toMatchObject({ code: 0, stderr: '' });
  });

  it('is told at the start', async () => {
    const { args, env } = job();
    weir = startWeir(args, env, ['bash', '-c', 'ulimit -S -f 16; exec "$0" "$@"']);
    expect(await weir.ended()).toBe(5);
    expect(weir.stderr()).toMatch(/^weir: the state folder .*state cannot be written: EFBIG.*; make room/m);
  });
});
