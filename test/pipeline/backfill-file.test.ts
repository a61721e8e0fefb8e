import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  bruteForceFeatures,
  differences,
  type HandbookRow,
  handbookHeader,
  readHandbook,
} from '../support/handbook.ts';
import { runWeir } from '../support/weir-process.ts';

let rows: HandbookRow[];
let folder: string;
/** The log begins at this row; what is before is history. */
let split: number;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-backfill-file-'));
  rows = await readHandbook(6_000);
  split = rows.findIndex(({ ts_ms }, row) => row >= 3_000 && ts_ms > rows[row - 1].ts_ms);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const csv = (part: readonly HandbookRow[]) => `${[handbookHeader, ...part.map(({ line }) => line)].join('\n')}\n`;

/** The job whose source is the rows from the split on. */
function overrides(name: string): string[] {
  const settings = {
    'state.embedded.path': join(folder, name, 'state'),
    'sink.file.path': join(folder, name, 'risk.jsonl'),
    'sink.file.dead_letters': join(folder, name, 'dead.jsonl'),
  };
  return Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
}

function weir(name: string, command: string, ...more: string[]) {
  const log = join(folder, 'log.csv');
  writeFileSync(log, csv(rows.slice(split)));
  const args = [command, '--config', 'examples/handbook/weir.yaml', ...overrides(name), ...more];
  return runWeir(args, { HANDBOOK_CSV: log });
}

/** How the features of what the log has differ from brute force over history and log. */
async function differencesOf(name: string): Promise<string[]> {
  const { code, stderr } = await weir(name, 'run', '--until-end');
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const wanted = bruteForceFeatures(rows);
  const lines = readFileSync(join(folder, name, 'risk.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');
  expect(lines).toHaveLength(rows.length - split);
  return lines.flatMap((line) => {
    const { transaction_id, features } = JSON.parse(line).data;
    return differences(transaction_id, features, wanted.get(transaction_id)!);
  });
}

describe('a backfill from a file', () => {
  it('adds the history before the log: all features are those of history and log together', async () => {
    const history = join(folder, 'history.csv.gz');
    // History and log overlap: --before says from when on the log has it.
    writeFileSync(history, gzipSync(csv(rows.slice(0, split + 500))));
    const more = ['--file', history, '--before', new Date(rows[split].ts_ms).toISOString()];
    const { code, stdout } = await weir('whole', 'backfill', ...more, '--json');
    expect({ code, said: JSON.parse(stdout) }).toMatchObject({
      code: 0,
      said: {
        partition: 'history.csv.gz:0',
        from: 0,
        to: split + 500,
        events: split,
        left_out: 500,
        unreadable: 0,
        whole: true,
      },
    });
    const again = await weir('whole', 'backfill', ...more);
    expect(again).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Nothing to do: .* through its last record/),
    });
    expect(await differencesOf('whole')).toEqual([]);
  }, 60_000);

  it('goes on with a file that has grown', async () => {
    const history = join(folder, 'grown.csv');
    const more = ['--file', history, '--before', String(rows[split].ts_ms), '--json'];
    const added = [];
    for (const through of [1_000, split]) {
      writeFileSync(history, csv(rows.slice(0, through)));
      added.push(JSON.parse((await weir('grown', 'backfill', ...more)).stdout));
    }
    expect(added).toMatchObject([
      { from: 0, to: 1_000, events: 1_000 },
      { from: 1_000, to: split, events: split - 1_000 },
    ]);
    expect(await differencesOf('grown')).toEqual([]);
  }, 60_000);

  it('refuses a file that is something else, before it counts as known, and the job’s own source', async () => {
    const other = join(folder, 'other.jsonl');
    writeFileSync(other, '{"hello":"world"}\n'.repeat(10));
    const before = ['--before', '2030-01-01T00:00:00Z'];
    expect(await weir('other', 'backfill', '--file', other, ...before)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("other.jsonl is not laid out as the config's event section says"),
    });
    expect(await weir('other', 'backfill', '--file', join(folder, 'log.csv'), ...before)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("log.csv is the job's own source"),
    });
  }, 60_000);
});
