import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { TransactionBatch } from '../../features/columns.ts';
import type { FeatureRows } from '../../features/rows.ts';
import type { PolicyConfig } from '../../scoring/config.ts';
import type { Model } from '../../scoring/model.ts';
import { createOnnxModel } from '../../scoring/onnx/model.ts';
import { type RiskEvent, riskEvent } from '../../scoring/risk-event.ts';
import { createRulesOnlyModel } from '../../scoring/rules-only.ts';
import { createScorer, type ScoredBatch, type Scorer, type TokeniseOptions } from '../../scoring/scorer.ts';
import { createTokens } from '../../scoring/tokens.ts';
import { clockAt } from '../support/clock.ts';
import { goldenFile, goldenSet, madeBatch, madeRows, policyOf } from '../support/scoring.ts';

const set = goldenSet();
const at = { stream: 'transactions', partition: 3 };
const now = 1_764_066_600_123;
const secret = 'sixteen letters!';
const rules: PolicyConfig = [
  { name: 'model-block', when: 'probability >= 0.9', decision: 'block' },
  { name: 'model-review', when: 'probability >= 0.5', decision: 'review' },
  { name: 'many', when: 'card.count.1h > 6', decision: 'challenge' },
];

let model: Model;
beforeAll(async () => {
  model = await createOnnxModel({ onnx: goldenFile('model.onnx'), manifest: goldenFile('model.json') }, set);
});
afterAll(() => model.close());

function scorer(by: { model?: Model; rules?: PolicyConfig; tokenise?: TokeniseOptions } = {}) {
  const clock = clockAt(() => now);
  const policy = policyOf(set, by.rules ?? rules);
  return createScorer({ model: by.model ?? model, set, policy, clock, mode: 'live', tokenise: by.tokenise });
}

async function decide(by: Scorer, batch: TransactionBatch, rows: FeatureRows): Promise<ScoredBatch> {
  return by.decide(batch, rows, await by.score(rows), at);
}

/** Every event, checked against the definition. */
function parsed({ events }: ScoredBatch): RiskEvent[] {
  return events.map(({ data }) => riskEvent.parse(JSON.parse(data.toString())));
}

/** Rows like the model's own training data, so that every decision occurs. */
function likelyRows(count: number) {
  const rows = madeRows(count, set);
  for (let index = 0; index < rows.values.length; index += rows.width) {
    rows.values[index + set.names.indexOf('amount')] *= 20;
    rows.values[index + set.names.indexOf('terminal.ratio.fraud.7d.delay-7d')] /= 10;
  }
  return rows;
}

describe('the scorer', () => {
  it('answers probability, decision and event of each row, in order', async () => {
    const batch = madeBatch(500);
    const rows = likelyRows(500);
    const scored = await decide(scorer(), batch, rows);
    expect(scored.probabilities).toEqual(await model.score(rows.values, 500));
    const events = parsed(scored);
    for (const [row, event] of events.entries()) {
      const probability = Math.round(scored.probabilities[row] * 1e6) / 1e6;
      const isMany = rows.values[row * rows.width + set.names.indexOf('card.count.1h')] > 6;
      const fired = [probability >= 0.9, probability >= 0.5, isMany];
      expect(event.rules).toEqual(rules.filter((_, rule) => fired[rule]).map(({ name }) => name));
      expect(event.decision).toBe(fired[0] ? 'block' : fired[1] ? 'review' : isMany ? 'challenge' : 'approve');
      expect(['approve', 'challenge', 'review', 'block'][scored.decisions[row]]).toBe(event.decision);
      expect(event).toMatchObject({
        transaction_id: batch.ids[row],
        probability,
        risk_score: Math.min(99, Math.floor(probability * 100 + 1e-9)),
        scored_at: '2025-11-25T10:30:00.123Z',
        model: model.identity,
        source_position: { ...at, offset: batch.offsets[row] },
        mode: 'live',
      });
      expect(scored.events[row]).toMatchObject({ id: `transactions:3:${batch.offsets[row]}`, time: event.event_time });
      expect(scored.events[row].key).toBeUndefined();
    }
    expect(new Set(events.map(({ decision }) => decision)).size).toBe(4);
  });

  it('explains every decision but approve by the three features whose reference moves the probability most', async () => {
    const rows = likelyRows(700);
    const everybody: PolicyConfig = [{ name: 'all', when: 'card.count.1h >= 0', decision: 'review' }];
    const explained = parsed(await decide(scorer({ rules: everybody }), madeBatch(700), rows));
    const probabilities = await model.score(rows.values, 700);
    for (let row = 0; row < 700; row += 13) {
      const moved = [];
      for (const { column, feature, reference } of model.inputs) {
        const occluded = rows.values.slice(row * rows.width, (row + 1) * rows.width);
        const value = occluded[column];
        occluded[column] = reference;
        const difference = probabilities[row] - (await model.score(occluded, 1))[0];
        const contribution = Math.round(difference * 1e6) / 1e6;
        if (contribution !== 0) moved.push({ type: 'feature', feature, value, reference, contribution });
      }
      const wanted = moved.sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution)).slice(0, 3);
      const [first, ...reasons] = explained[row].reasons;
      expect(first).toEqual({ type: 'rule', name: 'all', decision: 'review' });
      expect(reasons).toEqual(wanted);
    }
    const approved = parsed(await decide(scorer(), madeBatch(700), rows)).filter((of) => of.decision === 'approve');
    expect(approved.length).toBeGreaterThan(100);
    expect(approved.flatMap(({ reasons }) => reasons)).toEqual([]);
  });

  it('has nothing to say of an empty batch', async () => {
    const scored = await decide(scorer(), madeBatch(0), madeRows(0, set));
    expect([scored.probabilities.length, scored.decisions.length, scored.events]).toEqual([0, 0, []]);
  });

  it('decides by rules alone where there is no model', async () => {
    const rulesOnly: PolicyConfig = [{ name: 'many', when: 'card.count.1h > 6', decision: 'block' }];
    const alone = scorer({ model: createRulesOnlyModel(), rules: rulesOnly });
    const events = parsed(await decide(alone, madeBatch(300), madeRows(300, set)));
    const blocked = events.filter(({ decision }) => decision === 'block');
    expect(blocked.length).toBeGreaterThan(5);
    for (const { reasons } of blocked) expect(reasons).toEqual([{ type: 'rule', name: 'many', decision: 'block' }]);
    expect(events[0]).toMatchObject({ probability: 0, risk_score: 0, model: { id: 'rules-only' } });
  });

  it('leaves out of the reasons what it would have no probability without', async () => {
    const rows = likelyRows(1);
    let runs = 0;
    // The row itself, then each feature at its reference.
    const wayward: Model = {
      ...model,
      score: async (_, count) =>
        new Float32Array(count).map((__, row) => (runs++ === 0 ? 0.9 : [0.1, Number.NaN, 3][row])),
    };
    const [{ reasons }] = parsed(
      await decide(scorer({ model: wayward, rules: rules.slice(0, 1) }), madeBatch(1), rows),
    );
    const features = reasons.filter(({ type }) => type === 'feature');
    expect(features).toEqual([expect.objectContaining({ contribution: 0.8 })]);
  });

  it('does not take a failed run for a decision', async () => {
    const failing: Model = { ...model, score: () => Promise.reject(new Error('no answer')) };
    await expect(scorer({ model: failing }).score(madeRows(1, set))).rejects.toThrow('no answer');
  });
});

describe('tokenised ids', () => {
  const token = (entity: string, id: string) =>
    createHmac('sha256', secret).update(`${entity}:${id}`).digest('hex').slice(0, 32);

  it('take the place of the ids, and of the key where the key is one', async () => {
    const batch = madeBatch(50);
    batch.entityIds[0][7] = '';
    const tokenise = { secret, entities: ['card'], keyEntity: 'card' };
    const scored = await decide(scorer({ tokenise }), batch, likelyRows(50));
    for (const [row, { entities }] of parsed(scored).entries()) {
      const card = batch.entityIds[0][row];
      const wanted = card === '' ? undefined : token('card', card);
      expect(entities).toEqual({ ...(wanted && { card: wanted }), terminal: batch.entityIds[1][row] });
      expect(scored.events[row].key?.toString()).toBe(wanted);
      expect(scored.events[row].data.toString()).not.toContain('"card-');
    }
    expect(scored.events[7].key).toBeNull();
    expect(batch.entityIds[0][0]).toMatch(/^card-/);
  });

  it('leave only an id that is not tokenised as the key, never the key of the source', async () => {
    const batch = madeBatch(3);
    batch.entityIds[0][2] = '';
    const keys = async (keyEntity: string | undefined) => {
      const tokenise = { secret, entities: ['terminal'], keyEntity };
      const { events } = await decide(scorer({ tokenise }), batch, likelyRows(3));
      return events.map(({ key }) => key?.toString() ?? key);
    };
    expect(await keys('card')).toEqual([batch.entityIds[0][0], batch.entityIds[0][1], null]);
    expect(await keys(undefined)).toEqual([null, null, null]);
  });

  it('are the same whether remembered or not, and of each entity and secret their own', () => {
    const tokens = createTokens(secret, 4);
    const ids = Array.from({ length: 20 }, (_, index) => `id-${index}`);
    for (const id of [...ids, ...ids.slice().reverse()]) expect(tokens.tokenOf('card', id)).toBe(token('card', id));
    expect(tokens.tokenOf('terminal', 'id-1')).toBe(token('terminal', 'id-1'));
    expect(tokens.tokenOf('terminal', 'id-1')).not.toBe(tokens.tokenOf('card', 'id-1'));
    expect(createTokens('another secret!!').tokenOf('card', 'id-1')).not.toBe(token('card', 'id-1'));
    expect(tokens.tokenOf('card', '')).toBe('');
  });
});
