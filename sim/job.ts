import { type CompiledJob, compileJob } from '../consumers/compile.ts';
import { jobConfig } from '../consumers/config.ts';
import type { InputRecord } from './kafka/log.ts';
import type { PlannedRecord, Settings } from './plan.ts';

export const inputTopic = 'tx';
export const scoredTopic = 'scored';
export const deadTopic = 'dead';

/** Where virtual time begins, milliseconds since 1970. */
export const epoch = 1_760_000_000_000;
export const latenessMs = 5_000;

/** Windows in seconds; the long ones reach over all that happens. */
export const windows = { short: 300, long: 86_400, delayed: 3_600, delay: 600 };

const compiled = new Map<string, CompiledJob>();

/** The job of a run. What features and rules compile to is the same for all. */
export function simulatedJob(settings: Settings): CompiledJob {
  const name = `${settings.isDeduplicating} ${settings.areShopsDelayed}`;
  const of = compiled.get(name) ?? compile(settings);
  compiled.set(name, of);
  const { config, set, policy } = of;
  const { delivery, groups, flushMs, refreshMs, cacheEntities, maxEvents, prefetchRecords, sessionMs } = settings;
  return {
    set,
    policy,
    config: {
      ...config,
      delivery,
      batch: { max_events: maxEvents },
      source: {
        kafka: {
          ...config.source.kafka!,
          prefetch_records: prefetchRecords,
          session_timeout_ms: sessionMs,
          heartbeat_interval_ms: sessionMs / 3,
          max_wait_ms: 800,
          topic_refresh_ms: 2_000,
        },
      },
      state: {
        ...config.state,
        redis: { ...config.state.redis!, groups },
        when_away: settings.isDegrading ? 'degrade' : 'pause',
        flush_interval_ms: flushMs,
        refresh_ms: refreshMs,
        cache_entities: cacheEntities,
      },
    },
  };
}

function compile({ isDeduplicating, areShopsDelayed }: Settings): CompiledJob {
  const { short, long, delayed, delay } = windows;
  const { job, faults } = compileJob(
    jobConfig.parse({
      job: 'sim',
      source: { kafka: { brokers: ['kafka:9092'], topic: inputTopic, group: 'sim' } },
      event: {
        id: '$.id',
        time: { path: '$.ts', unit: 'ms', allowed_lateness_ms: latenessMs },
        kind: { const: 'authorization' },
        fields: { amount: { path: '$.amount', type: 'money', scale: 2, unit: 'minor' } },
        entities: { card: { key: '$.card' }, shop: { key: '$.shop' } },
        key: 'card',
        deduplicate: isDeduplicating ? {} : false,
      },
      features: [
        { entity: 'card', windows: [`${short}s`, `${long}s`], aggregates: ['count', 'sum(amount)'] },
        { entity: 'card', windows: [`${short}s`], aggregates: ['count'], current: 'exclude' },
        ...(areShopsDelayed
          ? []
          : [{ entity: 'shop', windows: [`${short}s`, `${long}s`], aggregates: ['count', 'sum(amount)'] }]),
        { entity: 'shop', windows: [`${delayed}s`], aggregates: ['count'], delay: `${delay}s` },
      ],
      state: { redis: {} },
      model: { rules_only: true },
      policy: [{ name: 'many', when: `card.count.${short}s >= 3`, decision: 'review' }],
      sink: { kafka: { topic: scoredTopic, dead_letters: deadTopic, transaction_timeout_ms: 10_000 } },
    }),
  );
  if (job === undefined) throw new Error(`the simulated job is unsound: ${JSON.stringify(faults)}`);
  return job;
}

/** The record as it is appended; undefined: a control record. @param id of the transaction. */
export function recordOf(planned: PlannedRecord, id: string): InputRecord | undefined {
  const { atMs, kind, lateMs, ageMs, amount } = planned;
  const [card, shop] = [`card-${planned.card}`, `shop-${planned.shop}`];
  const timestamp = epoch + atMs;
  const whole = { id, ts: timestamp - lateMs - ageMs, amount, card, shop };
  const text = {
    valid: JSON.stringify(whole),
    repeat: JSON.stringify(whole),
    'not-json': '{"id":',
    'lacks-card': JSON.stringify({ ...whole, card: undefined }),
    negative: JSON.stringify({ ...whole, amount: -1 }),
    empty: null,
    marker: undefined,
  }[kind];
  if (text === undefined) return undefined;
  return { key: Buffer.from(card), value: text === null ? null : Buffer.from(text), timestamp };
}
