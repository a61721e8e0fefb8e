import { describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import type { TransactionBatch } from '../../features/columns.ts';
import { featureStates } from '../../features/rows.ts';
import { eventType, structuredEvent } from '../../scoring/cloud-event.ts';
import { decisionNames } from '../../scoring/policy.ts';
import { createTimeFormat } from '../../scoring/rfc3339.ts';
import { createRiskEncoder, type ScoredRows } from '../../scoring/risk-encoder.ts';
import {
  type FeatureReason,
  publishedProbability,
  type RiskEvent,
  riskEvent,
  riskScore,
} from '../../scoring/risk-event.ts';
import { cloudEvent, publishedSchema } from '../../scoring/schemas.ts';
import { goldenSet, madeBatch, madeRows, policyOf } from '../support/scoring.ts';

const set = goldenSet();
const model = { id: 'größe "1"', version: '2', sha256: 'ab'.repeat(32) };
const policy = policyOf(set, [
  { name: 'high', when: 'probability >= 0.5', decision: 'block' },
  { name: 'burst', when: 'card.count.1h > 4', decision: 'challenge' },
]);
const encode = createRiskEncoder({ set, model, policy, mode: 'live' });

function scoredRows(batch: TransactionBatch, stream = 'transactions', seed = 2): ScoredRows {
  const rows = madeRows(batch.count, set, seed);
  for (let at = 0; at < rows.states.length; at += 5) rows.states[at] = at % featureStates.length;
  for (const [row, time] of [1_700_000_000_000, Number.POSITIVE_INFINITY].entries())
    if (row < batch.count) rows.knownFrom[row] = time;
  rows.values.set([-0, 1e-7, 123456789.125, 1e21, -2.5].slice(0, rows.values.length));
  const probabilities = Float64Array.from({ length: batch.count }, (_, row) =>
    publishedProbability((row % 101) / 100.7),
  );
  const reasons = new Map<number, FeatureReason[]>();
  for (let row = 0; row < batch.count; row += 3)
    reasons.set(row, [{ type: 'feature', feature: 'amount', value: 12.5, reference: 20, contribution: -0.25 }]);
  const { entityIds } = batch;
  const verdicts = policy.decide(batch, rows, probabilities);
  return {
    batch,
    rows,
    probabilities,
    verdicts,
    reasons,
    entityIds,
    stream,
    partition: 7,
    scoredAt: 1_764_066_600_123,
  };
}

const historyFrom = (time: number) => (time === Number.POSITIVE_INFINITY ? null : new Date(time).toISOString());

/** The same events written plainly. */
function plainly({ batch, rows, probabilities, verdicts, reasons, entityIds, ...rest }: ScoredRows): string[] {
  return batch.ids.map((transaction_id, row) => {
    const columns = set.names.map((name, column) => ({ name, at: row * rows.width + column }));
    const fired = policy.rules.filter((_, rule) => verdicts.fired[rule][row] === 1);
    const event: RiskEvent = {
      transaction_id,
      kind: batch.kinds[row],
      entities: Object.fromEntries(
        set.layout.entities.map(({ name }, k) => [name, entityIds[k][row]]).filter(([, id]) => id !== ''),
      ),
      event_time: new Date(batch.times[row]).toISOString(),
      scored_at: new Date(rest.scoredAt).toISOString(),
      decision: decisionNames[verdicts.decisions[row]],
      risk_score: riskScore(probabilities[row]),
      probability: probabilities[row],
      reasons: [
        ...fired.map(({ name, decision }) => ({ type: 'rule' as const, name, decision })),
        ...(reasons.get(row) ?? []),
      ],
      rules: fired.map(({ name }) => name),
      model,
      policy: { version: policy.version },
      feature_set: { version: set.hash.slice(0, 12) },
      features: Object.fromEntries(columns.map(({ name, at }) => [name, rows.values[at]])),
      feature_state: Object.fromEntries(
        columns
          .filter(({ at }) => rows.states[at] !== 0)
          .map(({ name, at }) => [
            name,
            featureStates[rows.states[at]] as Exclude<(typeof featureStates)[number], 'fresh'>,
          ]),
      ),
      ...(Number.isNaN(rows.knownFrom[row]) ? {} : { history_from: historyFrom(rows.knownFrom[row]) }),
      source_position: { stream: rest.stream, partition: rest.partition, offset: batch.offsets[row] },
      mode: 'live',
    };
    return JSON.stringify(event);
  });
}

describe('the risk event', () => {
  it('is encoded as JSON.stringify would, byte for byte', () => {
    const scored = scoredRows(madeBatch(400));
    const { data, times } = encode(scored);
    expect(data.map(String)).toEqual(plainly(scored));
    expect(times).toEqual([...scored.batch.times].map((time) => new Date(time).toISOString()));
  });

  it('validates against its definition and against the published JSON Schema', () => {
    const ajv = new Ajv2020({ strict: true, allErrors: true });
    (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
    const validate = ajv.compile(publishedSchema(riskEvent));
    for (const data of encode(scoredRows(madeBatch(200))).data) {
      const event = JSON.parse(data.toString());
      expect(riskEvent.parse(event)).toEqual(event);
      expect(validate(event) || validate.errors).toBe(true);
      expect(validate({ ...event, added_later: 1 })).toBe(true);
      expect(validate({ ...event, risk_score: 100 })).toBe(false);
      expect(validate({ ...event, decision: 'deny' })).toBe(false);
    }
  });

  it('carries any id, kind and stream name whole', () => {
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
    const nasty = fc.oneof(
      text,
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.constantFrom('"', '\\', '\u0000', '\u2028', '\ud800', '\udc00x', '𝄞', '\u007f'),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(nasty, nasty, nasty), { maxLength: 8 }), nasty, (ids, stream) => {
        const batch = madeBatch(ids.length);
        for (const [row, [id, card, kind]] of ids.entries()) {
          batch.ids[row] = id;
          batch.entityIds[0][row] = card;
          batch.kinds[row] = kind;
        }
        const scored = scoredRows(batch, stream);
        const { data } = encode(scored);
        expect(data.map(String)).toEqual(plainly(scored));
        for (const [row, event] of data.map((bytes) => JSON.parse(bytes.toString()) as RiskEvent).entries()) {
          const [id, card, kind] = ids[row];
          expect([event.transaction_id, event.entities.card, event.kind, event.source_position.stream]).toEqual([
            id,
            card,
            kind,
            stream,
          ]);
        }
      }),
      { seed: 7 },
    );
  });

  it('leaves out entities that the transaction does not carry', () => {
    const batch = madeBatch(3);
    batch.entityIds[0][0] = '';
    batch.entityIds[1][1] = '';
    batch.entityIds[0][2] = batch.entityIds[1][2] = '';
    const events = encode(scoredRows(batch)).data.map((bytes) => JSON.parse(bytes.toString()) as RiskEvent);
    expect(events.map(({ entities }) => Object.keys(entities))).toEqual([['terminal'], ['card'], []]);
  });

  it('is never written with a feature that is no number', () => {
    const scored = scoredRows(madeBatch(1));
    scored.rows.values[1] = Number.NaN;
    expect(() => encode(scored)).toThrow(/the feature amount came out as NaN/);
  });

  it('has a risk score of floor(100 p), at most 99', () => {
    expect([0, 0.009999, 0.01, 0.29, 0.57, 0.58, 0.99, 0.999999, 1].map(riskScore)).toEqual([
      0, 0, 1, 29, 57, 58, 99, 99, 99,
    ]);
    expect(publishedProbability(Math.fround(0.9))).toBe(0.9);
  });
});

describe('the CloudEvent of a risk event', () => {
  const [data] = encode(scoredRows(madeBatch(1))).data;
  const wrap = (id: string) =>
    Buffer.concat(structuredEvent('card-risk', { id, time: '2026-11-25T09:30:00.000Z', data })).toString();

  it('is one line of structured JSON with the data as it is', () => {
    const line = wrap('transactions:7:5000000');
    expect(line.match(/\n/g)).toHaveLength(1);
    expect(line.endsWith(`"data":${data}}\n`)).toBe(true);
    expect(JSON.parse(line)).toEqual({
      specversion: '1.0',
      id: 'transactions:7:5000000',
      source: '/weir/card-risk',
      type: eventType,
      time: '2026-11-25T09:30:00.000Z',
      datacontenttype: 'application/json',
      data: JSON.parse(data.toString()),
    });
    expect(cloudEvent.safeParse(JSON.parse(line)).success).toBe(true);
  });

  it('carries any stream name in its id', () => {
    const id = 'a "file"\n\\name.jsonl:0:1';
    expect(JSON.parse(wrap(id)).id).toBe(id);
  });
});

describe('time as text', () => {
  it('is what Date.toISOString gives', () => {
    const format = createTimeFormat();
    const latest = Date.UTC(2200, 0, 1);
    const around = fc.oneof(
      fc.integer({ min: 0, max: latest }),
      fc.integer({ min: 0, max: 80_000 }).map((day) => day * 86_400_000 - (day % 2)),
    );
    fc.assert(
      fc.property(
        around.filter((time) => time >= 0),
        (time) => {
          expect(format(time)).toBe(new Date(time).toISOString());
        },
      ),
      { seed: 7, numRuns: 500 },
    );
  });
});
