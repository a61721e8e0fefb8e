import { z } from 'zod';

/** How partitions keep in step while they work off a backlog. */
export const alignmentConfig = z
  .union([
    z.literal(false),
    z.strictObject({
      within: z
        .string()
        .regex(/^[1-9]\d{0,8}[smhd]$/, 'a duration such as 30s, 15m, 24h or 7d')
        .default('1m')
        .meta({
          description:
            'A partition that is further ahead in event time than this waits for the slowest; so much may be missing of others before a feature without a delay is stale. Events no older than this wait for nobody',
        }),
      patience_ms: z.int().min(0).max(86_400_000).default(60_000).meta({
        description:
          'A partition that has not got on for so long holds nobody until it does; more than session_timeout_ms and a recovery take. Milliseconds',
      }),
    }),
  ])
  .prefault({})
  .meta({
    description:
      'Partitions advance in step of event time, as far as features of entities that they share need it; false: each at its own pace',
  });

export type AlignmentConfig = z.output<typeof alignmentConfig>;
