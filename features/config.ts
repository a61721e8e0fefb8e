import { z } from 'zod';

const name = z
  .string()
  .regex(/^[a-z][a-z0-9_]*$/, 'lower-case letters, digits and _ (it becomes part of feature names)');
const duration = z.string().regex(/^[1-9]\d{0,8}[smhd]$/, 'a duration such as 30s, 15m, 24h or 7d');

/** Named boolean expressions over event fields and `kind`; features refer to them by name. */
export const filtersConfig = z.record(name, z.string().min(1)).meta({
  description: 'Named filters: boolean expressions over event fields and `kind`, e.g. `outcome == "approved"`',
});

const featureGroupConfig = z.strictObject({
  event: z
    .array(z.string())
    .min(1)
    .optional()
    .meta({ description: 'Features of the event alone: a numeric field, `is-weekend`, `is-night` (UTC, 00:00-06:59)' }),
  entity: z.string().optional().meta({ description: 'The entity whose history is aggregated' }),
  windows: z
    .array(duration)
    .min(1)
    .optional()
    .meta({ description: 'Window widths, 1s to 90d: the half-open (t-w, t]' }),
  aggregates: z.array(z.string()).min(1).optional().meta({
    description:
      'count, sum(field), mean(field), min(field), max(field), stddev(field), ratio(filter or flag field), time-since-last, is-new(text field)',
  }),
  where: z.string().optional().meta({ description: 'A filter or flag field: only such events count' }),
  delay: duration.optional().meta({ description: 'Shifts the windows into the past: (t-d-w, t-d]' }),
  current: z
    .enum(['include', 'exclude'])
    .default('include')
    .meta({ description: 'Whether the event that is being scored counts' }),
});

/** Groups of features; each group is every aggregate over every window. */
export const featuresConfig = z
  .array(featureGroupConfig)
  .min(1)
  .meta({ description: 'The velocity features, in groups: every aggregate over every window of the group' });

export type FiltersConfig = z.output<typeof filtersConfig>;
export type FeaturesConfig = z.output<typeof featuresConfig>;
export type FeatureGroupConfig = z.output<typeof featureGroupConfig>;
