import { spawnSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';

function sim(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['sim/cli.ts', ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('npm run sim', () => {
  it('has a help that names all options', () => {
    const { status, stdout, stderr } = sim('--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const option of ['--seeds', '--from', '--jobs', '--seed', '--mutants']) expect(stdout).toContain(option);
  });

  it('runs what it is told to, and says so', () => {
    const { status, stdout } = sim('--seeds', '2', '--jobs', '1');
    expect(stdout).toMatch(/^2 seeds from 1, 0 failed/);
    expect(status).toBe(0);
  });

  it.each([
    [['--seeds', '0'], '--seeds wants a whole number from 1'],
    [['--seeds', '1.5'], '--seeds wants a whole number from 1'],
    [['--jobs', '0'], '--jobs wants a whole number from 1 to 64'],
    [['--from', 'x'], '--from wants a whole number from 0'],
    [['--seed', '1', '--mutants'], '--seed does not go with --mutants'],
    [['--sed', '1'], "unknown option '--sed'"],
  ])('refuses %j in a sentence', (args, message) => {
    const { status, stdout, stderr } = sim(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
  });
});
