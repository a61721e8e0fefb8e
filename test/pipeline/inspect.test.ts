import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { SimulatedTransaction } from '../../simulator/transaction.ts';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { runWeir } from '../support/weir-process.ts';

interface Inspected {
  readonly recipe: string;
  readonly at: string;
  readonly partitions: readonly Record<string, unknown>[];
  readonly features: readonly { readonly name: string; readonly value: number; readonly state: string }[];
  readonly events: readonly {
    readonly time: string;
    readonly facts: Record<string, unknown>;
    passes: readonly string[];
  }[];
}

const events = 5000;
const lines = simulatedLines(events);
const transactions = lines.map((line) => JSON.parse(line) as SimulatedTransaction);
const token = 'a secret of the test';
const tokenised = ['--set', 'event.entities.card.tokenise=true', '--set', `event.token_key=${token}`];
let redis: RedisService;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

const stores = {
  LMDB: () => [],
  Redis: () => ['--set', 'state.embedded=null', '--set', `state.redis.url=${redis.url}`],
};

describe.each(Object.entries(stores))('weir inspect, with the state in %s', (_, settings) => {
  let folder: string;
  let published: Map<string, Record<string, number>>;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weir-inspect-'));
    await writeLines(join(folder, 'transactions.jsonl'), lines);
    const { args, env, output } = demoJob(folder);
    expect(await runWeir([...args, ...settings(), ...tokenised], env)).toMatchObject({ code: 0 });
    const risk = readFileSync(output, 'utf8').trimEnd().split('\n');
    published = new Map(
      risk.map((line) => {
        const { transaction_id, features } = (
          JSON.parse(line) as { data: { transaction_id: string; features: Record<string, number> } }
        ).data;
        return [transaction_id, features];
      }),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const inspect = (...args: string[]) =>
    runWeir(
      ['inspect', ...args, '--config', 'examples/demo/weir.yaml', ...settings(), ...tokenised],
      demoJob(folder).env,
    );

  async function inspectJson(...args: string[]): Promise<Inspected> {
    const { code, stdout, stderr } = await inspect(...args, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  }

  /** Features in whose windows the current event counts are the same whether it is scored or looked at. */
  const comparable = (entity: string, of: Record<string, number>) =>
    Object.fromEntries(
      Object.entries(of).filter(
        ([name]) => name.startsWith(`${entity}.`) && !/exclude-current|time-since-last|is-new/.test(name),
      ),
    );
  const valuesOf = ({ features }: Inspected) => Object.fromEntries(features.map(({ name, value }) => [name, value]));

  it('shows the features that the job published, for the newest event and for any before', async () => {
    const busiest = (idOf: (transaction: SimulatedTransaction) => string) => {
      const byId = Map.groupBy(transactions, idOf);
      return [...byId].reduce((most, each) => (each[1].length > most[1].length ? each : most));
    };
    for (const [entity, [id, own]] of [
      ['card', busiest(({ card }) => card.id)],
      ['terminal', busiest(({ terminal }) => terminal.id)],
    ] as const) {
      const newest = await inspectJson(entity, id);
      expect(comparable(entity, valuesOf(newest))).toEqual(comparable(entity, published.get(own.at(-1)!.id)!));
      expect(newest.at).toBe(new Date(own.at(-1)!.ts).toISOString());
      const before = own.at(-6)!;
      const earlier = await inspectJson(entity, id, '--at', String(before.ts));
      expect(comparable(entity, valuesOf(earlier))).toEqual(comparable(entity, published.get(before.id)!));
      expect(await inspectJson(entity, id, '--at', new Date(before.ts).toISOString())).toEqual(earlier);
      expect(valuesOf(earlier)).not.toEqual(valuesOf(newest));
    }
  });

  it('shows the sub-states and the newest events by the real id, though outputs carry a token', async () => {
    const { card } = transactions.at(-1)!;
    const own = transactions.filter((transaction) => transaction.card.id === card.id);
    expect(readFileSync(demoJob(folder).output, 'utf8')).not.toContain(card.id);
    const { partitions, events: newest } = await inspectJson('card', card.id);
    expect(partitions).toEqual([
      {
        partition: 'transactions.jsonl:0',
        offset: events,
        fence: events,
        events: own.length,
        folded: 0,
        oldest: new Date(own[0].ts).toISOString(),
        newest: new Date(own.at(-1)!.ts).toISOString(),
        dropped_through: null,
        pending_labels: 0,
        bytes: expect.any(Number),
      },
    ]);
    expect(newest.map(({ time, facts }) => [time, facts.amount])).toEqual(
      own
        .slice(-10)
        .reverse()
        .map(({ ts, amount }) => [new Date(ts).toISOString(), Number(amount)]),
    );
    const text = (await inspect('card', card.id)).stdout;
    expect(text).toMatch(/^transactions\.jsonl:0 +5,000 +5,000 +\d+ /m);
    expect(text).toMatch(/^card\.count\.7d +\d+ {2}fresh$/m);
    expect(text).toMatch(/^card\.is-new\.terminal_id\.30d +0 {2}absent$/m);
    expect(text).toMatch(
      new RegExp(`^${newest[0].time} +transactions\\.jsonl:0 +amount [\\d.]+, terminal_id #[\\da-f]{12}`, 'm'),
    );
  });

  it('says what is not there, and what was meant', async () => {
    const none = await inspect('card', 'nobody');
    expect(none).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringContaining('the store has no card nobody'),
    });
    const entity = await inspect('crad', 'x');
    expect(entity).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean card?') });
    const time = await inspect('card', 'x', '--at', 'noon');
    expect(time).toMatchObject({ code: 2, stderr: expect.stringContaining('--at wants a time like') });
  });
});

describe('weir inspect', () => {
  it('reads the LMDB folder while a process has it open, and says where there is none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-inspect-'));
    try {
      const inspect = () =>
        runWeir(['inspect', 'card', 'x', '--config', 'examples/demo/weir.yaml'], { WEIR_DEMO_DIR: folder });
      expect(await inspect()).toMatchObject({ code: 5, stderr: expect.stringContaining('there is no state at') });
      const open = await createEmbeddedStore(
        { path: join(folder, 'state') },
        { job: 'demo', recipe: '0123456789ab', retentionMs: () => 0, clock: systemClock },
      );
      await open.flush('t:0', [], 1);
      expect(await inspect()).toMatchObject({ code: 3, stderr: expect.stringContaining('has no card x') });
      await open.flush('t:0', [], 2);
      expect(await open.fence('t:0')).toBe(2);
      await open.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('says when Redis is not there', async () => {
    const nowhere = [
      'state.embedded=null',
      'state.redis.url=redis://127.0.0.1:1',
      'state.redis.connect_timeout_ms=300',
    ];
    const sets = nowhere.flatMap((each) => ['--set', each]);
    expect(await runWeir(['inspect', 'card', 'x', '--config', 'examples/demo/weir.yaml', ...sets])).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('127.0.0.1:1'),
    });
  });
});
