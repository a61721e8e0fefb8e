import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { superviseProcesses } from '../../cli/processes.ts';
import type { CompiledJob } from '../../consumers/compile.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createLogger } from '../../runtime/log.ts';

const job = { config: { source: { kafka: {} }, state: { redis: {} }, sink: { kafka: {} } } } as unknown as CompiledJob;
const before = process.argv;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-processes-'));
});
afterEach(() => {
  process.argv = before;
  process.exitCode = undefined;
  rmSync(folder, { recursive: true });
});

it('listens for its own end once, for however many processes: Node.js warns of more than ten listeners', async () => {
  // The processes are this command, which ends at once.
  const command = join(folder, 'command.js');
  writeFileSync(command, '');
  process.argv = [process.argv[0], command];
  const listeners = process.listenerCount('exit');
  const ended = superviseProcesses(job, 3, { clock: systemClock, log: createLogger('silent', {}) });
  const during = process.listenerCount('exit');
  await ended;
  expect([during - listeners, process.listenerCount('exit') - listeners, process.exitCode]).toEqual([1, 0, 0]);
});
