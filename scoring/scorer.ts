import type { TransactionBatch } from '../features/columns.ts';
import type { FeatureSet } from '../features/plan.ts';
import type { FeatureRows } from '../features/rows.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Model } from './model.ts';
import type { CompiledPolicy } from './policy.ts';
import { explainRows } from './reasons.ts';
import { createRiskEncoder } from './risk-encoder.ts';
import { publishedProbability, riskEventId } from './risk-event.ts';
import { createTokens } from './tokens.ts';

export interface ScorerOptions {
  readonly model: Model;
  readonly set: FeatureSet;
  readonly policy: CompiledPolicy;
  /** Gives `scored_at`. */
  readonly clock: Clock;
  /** live: events as they happen; replay: a recorded stream, e.g. from a file. */
  readonly mode: 'live' | 'replay';
  /** Undefined when no entity is tokenised. */
  readonly tokenise: TokeniseOptions | undefined;
}

export interface TokeniseOptions {
  /** `event.token_key`. */
  readonly secret: string;
  /** Names of the entities whose ids are replaced in outputs. */
  readonly entities: readonly string[];
  /** `event.key`: the output's record key is its id, or its token when it is one of them; without it outputs have no key. */
  readonly keyEntity: string | undefined;
}

/** Feature rows in, risk events out. */
export interface Scorer {
  /** Number of features. */
  readonly width: number;
  /** One model run over all rows. @returns float32 [count], as the model answers. @throws WeirError MODEL when the run fails. */
  score(rows: FeatureRows): Promise<Float32Array>;
  /** @param probabilities the model's answers for these rows, each in [0, 1]. */
  decide(
    batch: TransactionBatch,
    rows: FeatureRows,
    probabilities: Float32Array,
    at: { readonly stream: string; readonly partition: number },
  ): Promise<ScoredBatch>;
  close(): Promise<void>;
}

/** Row i of each belongs to row i of the batch. */
export interface ScoredBatch {
  /** As the model answered. */
  readonly probabilities: Float32Array;
  /** Indexes into `decisionNames`. */
  readonly decisions: Uint8Array;
  readonly events: readonly ScoredEvent[];
}

/** A risk event as a CloudEvent without its key. */
export interface ScoredEvent {
  /** Takes the place of the source record's key; null for none. */
  readonly key?: Buffer | null;
  readonly id: string;
  readonly time: string;
  readonly data: Buffer;
}

/**
 * Scores batches: the model, the policy's rules, reasons for every decision but approve, and the encoded risk events.
 * The batch and the rows must not change until the promise settles.
 */
export function createScorer({ model, set, policy, clock, mode, tokenise }: ScorerOptions): Scorer {
  const encode = createRiskEncoder({ set, model: model.identity, policy, mode });
  const publishIds = tokenise ? createIdPublisher(set, tokenise) : untokenised;
  return {
    width: set.names.length,
    score: ({ values, count }) => model.score(values, count),
    async decide(batch, rows, answers, { stream, partition }) {
      const probabilities = new Float64Array(batch.count);
      for (let row = 0; row < batch.count; row++) probabilities[row] = publishedProbability(answers[row]);
      const verdicts = policy.decide(batch, rows, probabilities);
      const alerts = alertedRows(verdicts.decisions);
      const explained = await explainRows(model, rows, answers, alerts);
      const reasons = new Map(alerts.map((row, index) => [row, explained[index]]));
      const { entityIds, keyOf } = publishIds(batch);
      const scored = { batch, rows, probabilities, verdicts, reasons, entityIds, stream, partition };
      const { times, data } = encode({ ...scored, scoredAt: clock.now() });
      const events = data.map((bytes, row): ScoredEvent => {
        const id = riskEventId(stream, partition, batch.offsets[row]);
        return { key: keyOf(row), id, time: times[row], data: bytes };
      });
      return { probabilities: answers, decisions: verdicts.decisions, events };
    },
    close: () => model.close(),
  };
}

function alertedRows(decisions: Uint8Array): number[] {
  const rows: number[] = [];
  for (let row = 0; row < decisions.length; row++) if (decisions[row] !== 0) rows.push(row);
  return rows;
}

/** What outputs carry in place of a batch's ids and keys. */
interface PublishedIds {
  readonly entityIds: readonly (readonly string[])[];
  /** undefined: the source record's own key. */
  keyOf(row: number): Buffer | null | undefined;
}

function untokenised(batch: TransactionBatch): PublishedIds {
  return { entityIds: batch.entityIds, keyOf: () => undefined };
}

function createIdPublisher(
  set: FeatureSet,
  { secret, entities, keyEntity }: TokeniseOptions,
): (batch: TransactionBatch) => PublishedIds {
  const tokens = createTokens(secret);
  const names = set.layout.entities.map(({ name }) => name);
  const keyAt = keyEntity === undefined ? -1 : names.indexOf(keyEntity);
  return (batch) => {
    const entityIds = names.map((name, at) =>
      entities.includes(name) ? batch.entityIds[at].map((id) => tokens.tokenOf(name, id)) : batch.entityIds[at],
    );
    // Never the source's own key: nothing says that it is not, or does not hold, an id that must not get out.
    const keyOf = (row: number) => {
      const id = keyAt < 0 ? '' : entityIds[keyAt][row];
      return id === '' ? null : Buffer.from(id);
    };
    return { entityIds, keyOf };
  };
}
