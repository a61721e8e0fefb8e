import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';

const node = (args: readonly string[]) =>
  promisify(execFile)(process.execPath, args).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );

it.each(['test/chaos/chaos.ts', 'bench/soak.ts'])('%s has a help', async (path) => {
  expect(await node([path, '--help'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Usage: .*Examples:/s),
  });
});

it.each([
  ['test/chaos/chaos.ts', ['--minutes', 'x'], '--minutes wants a whole number from 0 to 10080, not "x"'],
  ['test/chaos/chaos.ts', ['--seed', '1.5'], '--seed wants a whole number from 0 to 2147483647, not "1.5"'],
  ['test/chaos/chaos.ts', ['--faults', 'toString'], 'there is no fault "toString"; there are kill, '],
  ['test/chaos/chaos.ts', ['--round-seed', '5'], '--round-seed needs --faults with the one fault of the round'],
  ['test/chaos/chaos.ts', ['--speed', '5'], "unknown option '--speed'"],
  ['bench/soak.ts', ['--minutes', '0.05'], '--minutes wants a whole number from 4 to 10080, not "0.05"'],
  ['bench/soak.ts', ['--rate', '0'], '--rate wants a whole number from 1 to 100000, not "0"'],
])('%s %j is refused with a sentence', async (path, args, sentence) => {
  expect(await node([path, ...args])).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(sentence) });
});
