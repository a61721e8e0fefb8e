import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from '@jest/globals';
import { simulateCommand } from '../../cli/simulate.ts';
import { simulateEvents } from '../../simulator/event-stream.ts';
import { labelledCsvHeader } from '../../simulator/labelled-event.ts';
import { eventsDue } from '../../simulator/pacing.ts';
import { simulateTransactions } from '../../simulator/stream.ts';
import { csvHeader, csvLine, jsonLine } from '../../simulator/transaction.ts';

const folder = mkdtempSync(join(tmpdir(), 'weir-simulate-'));
afterAll(() => rmSync(folder, { recursive: true }));

const weirSimulate = (...flags: string[]) => simulateCommand().exitOverride().parseAsync(flags, { from: 'user' });
const expected = [...simulateTransactions({ seed: 6, events: 3000 })];

describe('weir simulate', () => {
  it('writes JSON Lines', async () => {
    const out = join(folder, 'a.jsonl');
    await weirSimulate('--events', '3000', '--seed', '6', '--out', out);
    expect(readFileSync(out, 'utf8')).toBe(expected.map((t) => `${jsonLine(t)}\n`).join(''));
  });

  it('writes compressed CSV by the ending of the file', async () => {
    const out = join(folder, 'a.csv.gz');
    await weirSimulate('--events', '3000', '--seed', '6', '--out', out);
    const lines = gunzipSync(readFileSync(out)).toString().split('\n');
    expect(lines).toEqual([csvHeader, ...expected.map(csvLine), '']);
  });

  it('writes labels and late events when asked to', async () => {
    const options = { seed: 6, events: 3000, customers: 60, labels: true, lateShare: 0.1 };
    const { events } = simulateEvents(options);
    const lines = [...events].map((event) => JSON.stringify(event));
    const flags = ['--events', '3000', '--customers', '60', '--seed', '6', '--labels', '--late', '0.1'];
    await weirSimulate(...flags, '--out', join(folder, 'c.jsonl'));
    expect(readFileSync(join(folder, 'c.jsonl'), 'utf8')).toBe(lines.map((line) => `${line}\n`).join(''));
    expect(lines.filter((line) => line.includes('"chargeback"')).length).toBeGreaterThan(0);
    await weirSimulate(...flags, '--out', join(folder, 'c.csv'));
    const rows = readFileSync(join(folder, 'c.csv'), 'utf8').split('\n');
    expect([rows[0], rows.length]).toEqual([labelledCsvHeader, lines.length + 2]);
  });

  it('begins at --start', async () => {
    const out = join(folder, 'b.jsonl');
    await weirSimulate('--events', '1', '--seed', '6', '--start', '2024-02-29T12:00:00Z', '--out', out);
    const { ts } = JSON.parse(readFileSync(out, 'utf8'));
    expect(ts).toBeGreaterThan(Date.UTC(2024, 1, 29, 12));
    expect(ts).toBeLessThan(Date.UTC(2024, 2, 1));
  });

  it.each([
    [['--events', 'many'], 'CONFIG', '--events wants a whole number from 0 to'],
    [['--seed', '-1'], 'CONFIG', '--seed wants'],
    [['--seed', '4294967296'], 'CONFIG', '--seed wants'],
    [['--customers', '3'], 'CONFIG', '--customers wants a whole number from 10'],
    [['--start', 'tomorrow'], 'CONFIG', '--start wants a time like'],
    [['--late', 'some'], 'CONFIG', '--late wants a share from 0 to 1, not "some"'],
    [['--late', '1.5'], 'CONFIG', '--late wants a share'],
    [
      ['--kafka', 'localhost:9092', '--topic', 't', '--rate', '5', '--late', '0.1'],
      'CONFIG',
      '--late does not go with live event times',
    ],
    [['--format', 'xml'], 'CONFIG', '--format wants jsonl or csv, not "xml"'],
    [['--rate', '5'], 'CONFIG', '--rate needs --kafka'],
    [['--event-time', 'live'], 'CONFIG', '--event-time needs --kafka'],
    [['--kafka', 'localhost', '--topic', 't'], 'CONFIG', '--kafka wants host:port'],
    [['--kafka', 'localhost:9092'], 'CONFIG', '--kafka needs --topic'],
    [['--kafka', 'localhost:9092', '--topic', 'a b'], 'CONFIG', '--topic wants'],
    [['--kafka', 'localhost:9092', '--topic', 't', '--rate', '0'], 'CONFIG', '--rate wants a number above 0'],
    [
      ['--kafka', 'localhost:9092', '--topic', 't', '--key', 'shop'],
      'CONFIG',
      '--key wants card or account or terminal',
    ],
    [['--kafka', 'localhost:9092', '--topic', 't', '--out', 'x'], 'CONFIG', '--out does not go with --kafka'],
    [['--events', '1', '--out', join(folder, 'none', 'x')], 'OUTPUT', 'its folder does not exist'],
    [['--events', '1', '--out', folder], 'OUTPUT', 'it is a folder'],
    [['--events', '1', '--out', '/dev/full'], 'OUTPUT', 'the disk is full'],
  ])('refuses %j', async (flags, code, sentence) => {
    await expect(weirSimulate(...flags)).rejects.toMatchObject({ code, message: expect.stringContaining(sentence) });
  });

  it('gives all of it to a reader that is slower', async () => {
    const weir = fileURLToPath(new URL('../../cli/weir.ts', import.meta.url));
    for (let run = 0; run < 3; run++) {
      const { stdout } = await promisify(execFile)(
        'bash',
        ['-c', '"$0" "$1" simulate --events 3000 --seed 6 | dd bs=777 status=none', process.execPath, weir],
        { encoding: 'utf8', maxBuffer: 1 << 24 },
      );
      expect(stdout === expected.map((t) => `${jsonLine(t)}\n`).join('') || stdout.slice(-200)).toBe(true);
    }
  });

  it('ends quietly when the reader of its output has seen enough', async () => {
    const command = fileURLToPath(new URL('../../cli/simulate.ts', import.meta.url));
    const script = `const { simulateCommand } = await import(${JSON.stringify(command)});
      await simulateCommand().parseAsync(['--events', '2000000', '--seed', '6'], { from: 'user' });`;
    const { stdout, stderr } = await promisify(execFile)(
      'bash',
      ['-c', 'set -o pipefail; "$0" --input-type=module -e "$1" | head -n 2', process.execPath, script],
      { encoding: 'utf8' },
    );
    expect(stdout).toBe(expectedHead(2_000_000, 2));
    expect(stderr).not.toMatch(/error|EPIPE/i);
  });
});

function expectedHead(events: number, count: number): string {
  const stream = simulateTransactions({ seed: 6, events });
  return Array.from({ length: count }, () => `${jsonLine(stream.next().value!)}\n`).join('');
}

describe('pacing', () => {
  it('owes what the rate asks for since the start, less what was sent', () => {
    expect(eventsDue(2000, 0, 0)).toBe(0);
    expect(eventsDue(2000, 5, 0)).toBe(10);
    expect(eventsDue(2000, 1000, 1990)).toBe(10);
    expect(eventsDue(0.5, 3999, 1)).toBe(0);
    expect(eventsDue(0.5, 4000, 1)).toBe(1);
    expect(eventsDue(Number.POSITIVE_INFINITY, 0, 1_000_000)).toBe(Number.POSITIVE_INFINITY);
  });
});
