import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openTerminal, type Terminal } from '../support/terminal.ts';

const showsCursor = '\u001b[?25h';
const hidesCursor = '\u001b[?25l';
const wraps = '\u001b[?7h';

let folder: string;
let terminal: Terminal;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-stopping-'));
});
afterEach(async () => {
  terminal.kill();
  await terminal.ended();
  rmSync(folder, { recursive: true, force: true });
});

/** Both are given back after they were last taken away. */
function expectTerminalRestored(shown: string): void {
  expect(shown.lastIndexOf(showsCursor)).toBeGreaterThan(shown.lastIndexOf(hidesCursor));
  expect(shown.lastIndexOf(wraps)).toBeGreaterThan(shown.lastIndexOf('\u001b[?7l'));
}

describe('Ctrl-C in a terminal', () => {
  it('stops `npm start` cleanly, which sends it on to what the terminal has sent it already', async () => {
    terminal = openTerminal('npm start --no-update-notifier -- --events 400000', { WEIR_DEMO_DIR: folder });
    await terminal.shows(/[1-9]% \|/);
    terminal.pressCtrlC();
    await terminal.ended();
    expect(terminal.shown()).toContain('Stopped. The same command goes on from here.');
    expectTerminalRestored(terminal.shown());
  });
});
