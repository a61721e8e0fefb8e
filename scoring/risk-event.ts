import { z } from 'zod';
import { featureStates } from '../features/rows.ts';
import { decisionNames } from './policy.ts';

const time = z.iso.datetime({ precision: 3 });
const shortHash = z.string().regex(/^[0-9a-f]{12}$/);
const [, ...notFresh] = featureStates;

const ruleReason = z.strictObject({
  type: z.literal('rule'),
  name: z.string().meta({ description: "The rule's name in the policy" }),
  decision: z.enum(decisionNames).meta({ description: 'What this rule asks for' }),
});

const featureReason = z.strictObject({
  type: z.literal('feature'),
  feature: z.string().meta({ description: 'Name of the feature, as in `features`' }),
  value: z.number().meta({ description: 'Its value for this transaction' }),
  reference: z.number().meta({ description: "The model manifest's reference value: nothing unusual" }),
  contribution: z.number().min(-1).max(1).meta({
    description:
      'Probability minus the probability with the reference in place of the value, 6 decimals. Positive: it raises the risk',
  }),
});

/**
 * What Weir says of one transaction: the `data` of the CloudEvent. The one definition; the JSON Schema, the AsyncAPI document and the
 * types follow from it, and risk-encoder.ts writes it.
 */
export const riskEvent = z
  .strictObject({
    transaction_id: z.string().min(1).meta({ description: "The transaction's id as the input has it" }),
    kind: z.string().min(1).meta({ description: 'What happened, e.g. authorization' }),
    entities: z.record(z.string(), z.string()).meta({
      description: 'Entity type: id, for those that the transaction carries; where tokenised, 32 hex digits for the id',
    }),
    event_time: time.meta({ description: 'When the transaction happened, by the input. RFC 3339, UTC, milliseconds' }),
    scored_at: time.meta({ description: "When it was scored, by the scorer's clock. RFC 3339, UTC, milliseconds" }),
    decision: z
      .enum(decisionNames)
      .meta({ description: 'The severest decision of all rules that fired, else approve' }),
    risk_score: z.int().min(0).max(99).meta({ description: 'floor(100 * probability), at most 99' }),
    probability: z.number().min(0).max(1).meta({
      description:
        'Probability of fraud as the model answers it, 6 decimals; rules compare this number. 0 without a model',
    }),
    reasons: z.array(z.discriminatedUnion('type', [ruleReason, featureReason])).meta({
      description:
        'The rules that fired, then, for every decision but approve, up to three features that move the probability most, the most first',
    }),
    rules: z.array(z.string()).meta({ description: 'Names of the rules that fired, in the order of the policy' }),
    model: z
      .strictObject({
        id: z.string().min(1),
        version: z.string().min(1),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      })
      .meta({ description: "The model that scored, with its file's sha256; id rules-only where there is none" }),
    policy: z
      .strictObject({ version: shortHash })
      .meta({ description: 'Which rules decided: a hash over them, equal for equal rules' }),
    feature_set: z
      .strictObject({ version: shortHash })
      .meta({ description: 'Which features were computed: a hash over their names and definitions' }),
    features: z
      .record(z.string(), z.number())
      .meta({ description: 'Feature name: value, all of the job. Amounts in major units, durations in seconds' }),
    feature_state: z
      .record(z.string(), z.enum(notFresh))
      .meta({ description: 'Feature name: what its value is worth, for those that are not exact (fresh)' }),
    feature_bounds: z
      .record(z.string(), z.tuple([z.number().nullable(), z.number().nullable()]))
      .optional()
      .meta({
        description:
          'Feature name: [least, greatest] that its true value can be, null where there is no limit; for those approximate ones that were read from panes. Absent when there are none',
      }),
    history_from: time.nullable().optional().meta({
      description:
        'Since when all that happened is known, where the log no longer has what was before: features are incomplete (`feature_state`) whose windows reach further back. Null while that time is not known yet. Absent when no window does',
    }),
    source_position: z
      .strictObject({
        stream: z.string().min(1).meta({ description: 'Topic or file' }),
        partition: z.int().min(0),
        offset: z.int().min(0),
      })
      .meta({ description: 'Where the transaction was read; also the id of the event' }),
    mode: z
      .enum(['live', 'replay'])
      .meta({ description: 'live: from a stream, as it happens; replay: from a recording, nobody should act on it' }),
  })
  .meta({ title: 'Weir risk event, version 1', description: 'The verdict on one transaction, with what led to it' });

export type RiskEvent = z.output<typeof riskEvent>;
export type FeatureReason = z.output<typeof featureReason>;

/** CloudEvents id: the same input record always gives the same one. */
export function riskEventId(stream: string, partition: number, offset: number): string {
  return `${stream}:${partition}:${offset}`;
}

/** A probability as published and as rules compare it: 6 decimals, which is what the runtimes agree on. */
export function publishedProbability(probability: number): number {
  return Math.round(probability * 1e6) / 1e6;
}

/** 0 to 99, of a published probability; by way of whole millionths, because 100 * 0.29 is 28.999999999999996. */
export function riskScore(probability: number): number {
  return Math.min(99, Math.floor(Math.round(probability * 1e6) / 1e4));
}
