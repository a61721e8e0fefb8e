import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { runWeir } from '../support/weir-process.ts';

interface Line {
  readonly id: string;
  readonly data: {
    readonly transaction_id: string;
    readonly scored_at: string;
    readonly decision: string;
    readonly features: object;
  };
}

const events = 20_000;
let lines: string[];
let folder: string;

beforeAll(() => {
  lines = simulatedLines(events);
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-file-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const eventsIn = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

/** What must not depend on how often the run was broken off: all but the wall clock. */
const timeless = (all: readonly Line[]) =>
  all.map(({ data: { scored_at: _, ...data }, ...rest }) => ({ ...rest, data }));

async function runToEnd(): Promise<Record<string, unknown>> {
  const { args, env } = demoJob(folder);
  const { code, stdout, stderr } = await runWeir(args, env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function undisturbed(): Promise<Line[]> {
  await writeLines(join(folder, 'transactions.jsonl'), lines);
  await runToEnd();
  const all = eventsIn(join(folder, 'risk.jsonl'));
  for (const name of ['risk.jsonl', 'risk.jsonl.checkpoint', 'dead-letters.jsonl', 'state'])
    rmSync(join(folder, name), { recursive: true });
  return all;
}

const signalAt = new URL('../support/signal-at.ts', import.meta.url).href;

/** Ends a run by the signal once it has written so much; answers how it ended. */
async function breakOff(signal: NodeJS.Signals, atBytes: number): Promise<number | string> {
  const { args, env, output } = demoJob(folder);
  const at = { WEIR_TEST_SIGNAL: signal, WEIR_TEST_SIGNAL_FILE: output, WEIR_TEST_SIGNAL_BYTES: String(atBytes) };
  const { code } = await runWeir(args, { ...env, ...at, NODE_OPTIONS: `--import ${signalAt}` });
  return code;
}

describe('the pipeline from file to file', () => {
  it('publishes each transaction once, in order, as the schema says, and sums it up', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), lines);
    const summary = await runToEnd();
    const all = eventsIn(join(folder, 'risk.jsonl'));
    expect(all.map(({ data }) => data.transaction_id)).toEqual(
      lines.map((line) => (JSON.parse(line) as { id: string }).id),
    );
    expect(all.map(({ id }) => id)).toEqual(lines.map((_, offset) => `transactions.jsonl:0:${offset}`));
    const ajv = new Ajv2020({ strict: false });
    addFormats.default(ajv);
    const validate = ajv.compile(JSON.parse(readFileSync('docs/schemas/cloud-event.schema.json', 'utf8')));
    for (const event of all)
      expect({ id: event.id, faults: validate(event) ? [] : validate.errors }).toEqual({ id: event.id, faults: [] });
    const decisions: Record<string, number> = { approve: 0, challenge: 0, review: 0, block: 0 };
    for (const { data } of all) decisions[data.decision]++;
    expect(summary).toMatchObject({
      events,
      published: events,
      dead_letters: 0,
      decisions,
      output: join(folder, 'risk.jsonl'),
    });
    expect(decisions.block).toBeGreaterThan(0);
  });

  it('gives the same output, byte for byte but for the clock, through kill -9 and Ctrl-C', async () => {
    const wanted = await undisturbed();
    expect(await breakOff('SIGKILL', 1_000_000)).toBe('SIGKILL');
    expect(await breakOff('SIGKILL', 6_000_000)).toBe('SIGKILL');
    expect(await breakOff('SIGINT', 10_000_000)).toBe(0);
    expect(eventsIn(join(folder, 'risk.jsonl')).length).toBeLessThan(wanted.length);
    await runToEnd();
    expect(timeless(eventsIn(join(folder, 'risk.jsonl')))).toEqual(timeless(wanted));
  });

  it('rebuilds state that was lost, publishing nothing for it', async () => {
    const wanted = await undisturbed();
    expect(await breakOff('SIGKILL', 8_000_000)).toBe('SIGKILL');
    rmSync(join(folder, 'state'), { recursive: true });
    await runToEnd();
    expect(timeless(eventsIn(join(folder, 'risk.jsonl')))).toEqual(timeless(wanted));
  });

  it('goes on where it stopped, and has nothing to do at the end', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), lines.slice(0, 1000));
    expect(await runToEnd()).toMatchObject({ events: 1000 });
    expect(await runToEnd()).toMatchObject({ events: 0, published: 0, decisions: { approve: 0 } });
    await writeLines(join(folder, 'transactions.jsonl'), lines.slice(0, 1500));
    expect(await runToEnd()).toMatchObject({ events: 500 });
    expect(eventsIn(join(folder, 'risk.jsonl'))).toHaveLength(1500);
  });

  it('ends on an empty file', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), []);
    expect(await runToEnd()).toMatchObject({ events: 0, events_per_s: 0 });
  });

  it('makes every bad record a dead letter and goes on', async () => {
    const first = JSON.parse(lines[0]) as Record<string, unknown>;
    const bad = [
      'no json at all',
      JSON.stringify({ ...first, id: '' }),
      JSON.stringify({ ...first, amount: -1 }),
      JSON.stringify({ ...first, amount: undefined }),
      JSON.stringify({ ...first, type: 'gift' }),
      `${'x'.repeat(2_000_000)}`,
    ];
    await writeLines(join(folder, 'transactions.jsonl'), [lines[0], ...bad, lines[1]]);
    const { args, env } = demoJob(folder);
    const { code, stdout } = await runWeir(args, env);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ events: 8, published: 2, dead_letters: 6 });
    const dead = readFileSync(join(folder, 'dead-letters.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { reason: string; offset: number; value: string });
    expect(dead.map(({ reason }) => reason)).toEqual([
      ...['not-json', 'empty-id', 'out-of-range', 'missing-field', 'unknown-kind', 'oversized'],
    ]);
    expect(dead.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(dead[0].value).toBe('no json at all');
  });
});
