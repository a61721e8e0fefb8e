import { spawn } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import { mutants } from '../../sim/mutants.ts';

/** The command's lines, once it has ended. */
async function sim(...args: string[]): Promise<{ readonly code: number; readonly lines: readonly string[] }> {
  const child = spawn(process.execPath, ['sim/cli.ts', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (part) => {
    text += part;
  });
  const code = await new Promise<number>((resolve) => child.on('close', resolve));
  return { code, lines: text.trim().split('\n') };
}

describe('the simulation', () => {
  it('holds what must hold in the first 1,000 seeds', async () => {
    const { code, lines } = await sim('--seeds', '1000', '--from', '1');
    expect(lines.filter((line) => line.includes('fail'))).toEqual([
      expect.stringMatching(/^1000 seeds from 1, 0 failed/),
    ]);
    expect(code).toBe(0);
  }, 600_000);

  it('runs a seed the same way each time', async () => {
    const [first, second] = [await sim('--seed', '7'), await sim('--seed', '7')];
    expect(first.code).toBe(0);
    expect(first.lines.length).toBeGreaterThan(100);
    expect(second).toEqual(first);
  }, 60_000);

  it('finds every deliberate fault', async () => {
    const { code, lines } = await sim('--mutants', '--seeds', '400');
    expect(lines.filter((line) => !/^seed \d+: /.test(line))).toEqual([]);
    // A mutant that only breaks the code proves nothing.
    expect(lines.filter((line) => /(Reference|Type|Syntax)Error/.test(line))).toEqual([]);
    expect(lines).toHaveLength(mutants.length);
    expect(mutants.length).toBeGreaterThanOrEqual(15);
    expect(code).toBe(0);
  }, 600_000);
});
