import { z } from 'zod';
import { catalogue } from './aggregates/catalogue.ts';

const name = z
  .string()
  .regex(/^[a-z][a-z0-9_]*$/, 'lower-case letters, digits and _ (it becomes part of feature names)');
const duration = z.string().regex(/^[1-9]\d{0,8}[smhd]$/, 'a duration such as 30s, 15m, 24h or 7d');

/** Named boolean expressions over event fields and `kind`; features refer to them by name. */
export const filtersConfig = z.record(name, z.string().min(1)).meta({
  description: 'Named filters: boolean expressions over event fields and `kind`, e.g. `outcome == "approved"`',
});

const window = z.string().regex(/^([1-9]\d{0,8}[smhd]|all)$/, 'a duration such as 30s, 15m, 24h or 7d, or all');

const featureGroupConfig = z.strictObject({
  event: z
    .array(z.string())
    .min(1)
    .optional()
    .meta({ description: 'Features of the event alone: a numeric field, `is-weekend`, `is-night` (UTC, 00:00-06:59)' }),
  entity: z.string().optional().meta({ description: 'The entity whose history is aggregated' }),
  windows: z.array(window).min(1).optional().meta({
    description: 'Window widths, 1s to 400d: the half-open (t-w, t]; `all`: everything since the entity was last idle',
  }),
  aggregates: z
    .array(z.string().meta({ examples: catalogue.map(({ example }) => example) }))
    .min(1)
    .optional()
    .meta({ description: `What is computed over the windows: ${catalogue.map(({ example }) => example).join(', ')}` }),
  where: z.string().optional().meta({ description: 'A filter or flag field: only such events count' }),
  delay: duration.optional().meta({ description: 'Shifts the windows into the past: (t-d-w, t-d]' }),
  current: z
    .enum(['include', 'exclude'])
    .optional()
    .meta({ description: 'Whether the event that is being scored counts; include unless stated' }),
  labels: z.enum(['at-own-time', 'at-transaction']).optional().meta({
    description:
      'at-own-time unless stated. Events that refer to an earlier one count at their own time, or change the earlier one where it stands: then `where` and filters may name their kinds',
  }),
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_.-]*$/, 'lower-case letters, digits, dots, hyphens and _')
    .optional()
    .meta({ description: 'Name of a feature that an expression gives' }),
  expression: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'Arithmetic over other features, e.g. `card.count.1h / card.count.30d`' }),
});

/** Groups of features; each group is every aggregate over every window. */
export const featuresConfig = z
  .array(featureGroupConfig)
  .min(1)
  .meta({ description: 'The velocity features, in groups: every aggregate over every window of the group' });

export type FiltersConfig = z.output<typeof filtersConfig>;
export type FeaturesConfig = z.output<typeof featuresConfig>;
export type FeatureGroupConfig = z.output<typeof featureGroupConfig>;
