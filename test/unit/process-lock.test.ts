import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { acquireProcessLock } from '../../runtime/process-lock.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-lock-'));
  path = join(folder, 'made', 'lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const acquire = () =>
  acquireProcessLock(path, { code: 'OUTPUT', what: 'the output out.jsonl', advice: 'stop it, or choose another' });

/** The id of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

/** Processes that all want the lock at the same time, print whether they have it, and keep it until told to end. */
function startRival() {
  const module = fileURLToPath(new URL('../../runtime/process-lock.ts', import.meta.url));
  const program = `
    import { acquireProcessLock } from ${JSON.stringify(module)};
    process.stdin.once('data', () => {
      try {
        acquireProcessLock(${JSON.stringify(path)}, { code: 'OUTPUT', what: 'it', advice: 'wait' });
        process.stdout.write('has it');
      } catch (error) {
        process.stdout.write(error.message);
      }
    });
    process.stdout.write('ready');`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
}

describe('process lock', () => {
  it('is held by one, and free again when released', () => {
    const lock = acquire();
    expect(acquire).toThrow(
      `the output out.jsonl is in use by process ${process.pid} (lock ${path}); stop it, or choose another`,
    );
    lock.release();
    expect(readdirSync(join(folder, 'made'))).toEqual([]);
    acquire().release();
  });

  it.each([
    ['a process that has ended', () => `${deadPid()} 12345`],
    ['a process that has ended, without its start', () => String(deadPid())],
    ['a former process that had the same id as this one, as in a container', () => `${process.pid} 1`],
    ['nobody', () => ''],
    ['nonsense', () => 'garbage'],
  ])('is taken over from %s', (_, holder) => {
    acquire().release();
    writeFileSync(path, holder());
    const lock = acquire();
    expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^${process.pid}\\b`));
    lock.release();
  });

  it('is not taken from a process that lives', () => {
    acquire().release();
    writeFileSync(path, String(process.ppid));
    expect(acquire).toThrow(`in use by process ${process.ppid}`);
    expect(readFileSync(path, 'utf8')).toBe(String(process.ppid));
  });

  it('goes to exactly one of many that find it left behind', async () => {
    acquire().release();
    writeFileSync(path, `${deadPid()} 1`);
    const rivals = Array.from({ length: 6 }, startRival);
    try {
      await Promise.all(rivals.map((rival) => once(rival.stdout, 'data')));
      const answers = rivals.map((rival) => once(rival.stdout, 'data').then(([text]) => String(text)));
      for (const rival of rivals) rival.stdin.write('go');
      const outcome = await Promise.all(answers);
      expect(outcome.filter((text) => text === 'has it')).toHaveLength(1);
    } finally {
      for (const rival of rivals) rival.kill('SIGKILL');
    }
  });

  it('says when the file cannot be written', () => {
    writeFileSync(join(folder, 'file'), '');
    path = join(folder, 'file', 'lock');
    expect(acquire).toThrow(`the lock ${path} cannot be written: `);
  });
});
