import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadJob } from '../../consumers/load-config.ts';
import { simulateEvents } from '../../simulator/event-stream.ts';
import type { LabelledEvent } from '../../simulator/labelled-event.ts';
import { writeLines } from '../support/demo-job.ts';
import { runWeir } from '../support/weir-process.ts';

const config = 'examples/radar/weir.yaml';
const page = readFileSync(new URL('../../examples/radar/README.md', import.meta.url), 'utf8');
/** [attribute, feature] of every row of the page's tables of attributes. */
const attributes = [...page.matchAll(/^\| `([a-z_]+)` \| .* \| `([\w.-]+)` \|$/gm)].map(
  ([, attribute, feature]) => [attribute, feature] as const,
);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-radar-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { set } = loadJob(config, { overrides: [], env: {}, folder: '.' });

describe('the table of Radar attributes', () => {
  it('names every attribute once, with a feature of the config', () => {
    const names = attributes.map(([attribute]) => attribute);
    expect(names.length).toBeGreaterThan(100);
    expect(new Set(names).size).toBe(names.length);
    expect(attributes.filter(([, feature]) => !set.names.includes(feature))).toEqual([]);
  });

  it('leaves no feature of the config out', () => {
    expect(set.names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
    expect(set.entities.length).toBeGreaterThanOrEqual(6);
  });
});

const day = 86_400_000;
const events = 3000;
function widthOf(text: string): number {
  if (text === 'all') return Number.POSITIVE_INFINITY;
  return Number.parseInt(text, 10) * (text.endsWith('h') ? day / 24 : day);
}

const filters: Readonly<Record<string, (event: LabelledEvent) => boolean>> = {
  charge: ({ type }) => type === 'authorization',
  authorized: ({ outcome }) => outcome === 'approved',
  blocked: ({ outcome }) => outcome === 'blocked',
  declined: ({ outcome }) => outcome === 'declined',
  failed: ({ outcome }) => outcome === 'blocked' || outcome === 'declined',
  dispute: ({ type }) => type === 'chargeback',
  fraud_warning: ({ type }) => type === 'fraud_report',
  refunded: ({ type }) => type === 'refund',
};
const entities: Readonly<Record<string, (event: LabelledEvent) => string | undefined>> = {
  card: ({ card }) => card.id,
  customer: ({ account }) => account.id,
  email: ({ email }) => email?.toLowerCase(),
  ip: ({ device }) => device?.ip,
  network: ({ device }) => device?.ip.replace(/\.\d+$/, ''),
  device: ({ device }) => device?.id,
  merchant: ({ terminal }) => terminal.id,
  card_merchant: ({ card, terminal }) => `${card.id} at ${terminal.id}`,
};
const fields: Readonly<Record<string, (event: LabelledEvent) => string | undefined>> = {
  card_id: entities.card,
  customer_id: entities.customer,
  email_address: entities.email,
  device_id: entities.device,
};
/** All but the speed, and the expression over two others. */
const tested = set.names.filter((name) => !/speed|failed_share/.test(name));

/** A feature by its name, over all that came before the transaction in the stream; undefined without data. */
function bruteForce(feature: string, current: LabelledEvent, before: readonly LabelledEvent[]): number | undefined {
  const [, aggregate, ...rest] = feature.replace(/\.(exclude-current|at-transaction)/g, '').split('.');
  const [where, width] = rest.slice(-2);
  const after = current.ts - widthOf(width);
  const events = before.filter((event) => event.ts > after && event.ts <= current.ts && filters[where](event));
  if (aggregate === 'count') return events.length;
  const cents = () => events.reduce((sum, { amount }) => sum + Math.round(Number(amount) * 100), 0);
  if (aggregate === 'sum') return cents() / 100;
  if (aggregate === 'mean') return events.length === 0 ? undefined : cents() / (100 * events.length);
  if (aggregate === 'time-since-first')
    return events.length === 0 ? undefined : (current.ts - Math.min(...events.map(({ ts }) => ts))) / 1000;
  if (aggregate === 'ratio') {
    const said = new Set(before.filter(({ type }) => type === rest[0]).map(({ refers_to }) => refers_to));
    const part = events.filter((event) => filters[rest[0]]?.(event) ?? said.has(event.id));
    return events.length === 0 ? undefined : part.length / events.length;
  }
  const readField = fields[rest[0]];
  const values = new Set(events.map(readField).filter((value) => value !== undefined));
  if (aggregate === 'distinct') return values.size;
  if (aggregate === 'is-new' && readField(current) === undefined) return undefined;
  if (aggregate === 'is-new') return values.has(readField(current)!) ? 0 : 1;
  throw new Error(feature);
}

describe('the features', () => {
  it('are what their names say, over a stream with labels, repetitions and late events', async () => {
    const options = { seed: 11, events, customers: 40, labels: true, lateShare: 0.02 };
    const log = [...simulateEvents(options).events] as LabelledEvent[];
    await writeLines(
      join(folder, 'events.jsonl'),
      log.map((event) => JSON.stringify(event)),
    );
    const run = await runWeir(['run', '--config', config, '--set', 'log.level=warn'], { RADAR_DIR: folder });
    expect(run).toMatchObject({ code: 0 });
    const lines = readFileSync(join(folder, 'risk.jsonl'), 'utf8').trimEnd().split('\n');
    const scored = new Map(lines.map((line) => JSON.parse(line).data).map((data) => [data.transaction_id, data]));
    expect(scored.size).toBe(events);

    const seen = new Set<string>();
    const histories = new Map<string, LabelledEvent[]>();
    const faults: string[] = [];
    const differing = new Set<string>();
    let unsure = 0;
    for (const event of log) {
      if (seen.has(event.id)) continue;
      seen.add(event.id);
      const data = scored.get(event.id);
      expect(data !== undefined).toBe(event.type === 'authorization');
      for (const feature of data === undefined ? [] : tested) {
        const entity = feature.slice(0, feature.indexOf('.'));
        const wanted = bruteForce(feature, event, histories.get(`${entity} ${entities[entity](event)}`) ?? []);
        const state = data.feature_state[feature] ?? 'fresh';
        if (state === 'incomplete' || state === 'approximate') unsure++;
        else if (wanted === undefined ? state !== 'absent' : data.features[feature] !== wanted)
          faults.push(`${event.id} ${feature}: ${data.features[feature]} (${state}), not ${wanted}`);
        if (wanted !== undefined && wanted > 0) differing.add(feature);
      }
      for (const [entity, idOf] of Object.entries(entities)) {
        const id = idOf(event);
        if (id === undefined) continue;
        const key = `${entity} ${id}`;
        const history = histories.get(key);
        if (history === undefined) histories.set(key, [event]);
        else history.push(event);
      }
    }
    expect(faults.slice(0, 10)).toEqual([]);
    expect(unsure).toBeLessThan(0.001 * events * tested.length);
    // Nothing is right only because it is always 0.
    expect(tested.filter((feature) => !differing.has(feature)).length).toBeLessThan(12);
  }, 120_000);
});
