import { z } from 'zod';
import { entityDefaults } from '../../features/columns.ts';
import { entityFunction, entityFunctionExamples } from './entity-function.ts';
import { readConfigTime } from './values.ts';

const name = z
  .string()
  .regex(/^[a-z][a-z0-9_]*$/, 'lower-case letters, digits and _ (it becomes part of feature names)');
const duration = z.string().regex(/^[1-9]\d{0,8}[smhd]$/, 'a duration such as 30s, 15m, 24h or 7d');
const path = z
  .string()
  .regex(/^\$(\.[A-Za-z_][\w-]*|\[\d+\]|\['[^']+'\])+$/, "a path such as $.card.id, $.items[0].price or $['a.b']");

const asConfig = z
  .string()
  .superRefine((name, context) => {
    const found = entityFunction(name);
    if (typeof found !== 'function') context.addIssue({ code: 'custom', message: found.message });
  })
  .meta({
    description:
      'What is made of it: `ip/N` or `ip/N/M` the network (N bits, M for IPv6), `email` trimmed and lower case, `email-domain`, `bin` or `bin/8` the first digits of a card number, `lower`',
    pattern: '^(ip/\\d+(/\\d+)?|email(-domain)?|bin(/[68])?|lower)$',
    examples: entityFunctionExamples,
  });

const fieldConfig = z
  .strictObject({
    path: path.meta({ description: 'Where the value is: `$.a.b`; for CSV `$.column`' }),
    type: z.enum(['money', 'number', 'flag', 'text']).meta({ description: 'How the value is read' }),
    scale: z
      .int()
      .min(0)
      .max(8)
      .default(0)
      .meta({ description: 'Decimal digits that are kept; the value is stored as an integer of 10^-scale' }),
    unit: z
      .enum(['major', 'minor'])
      .default('major')
      .meta({ description: 'minor: the input is the stored integer already, e.g. cents' }),
    optional: z
      .boolean()
      .default(false)
      .meta({ description: 'An event may lack it; absent, null and empty text are all no value' }),
    min: z.number().optional().meta({ description: 'Least value, in major units; money: 0 unless stated' }),
    max: z.number().optional().meta({ description: 'Greatest value, in major units; 10000000000 unless stated' }),
    as: asConfig.optional(),
  })
  .superRefine(({ type, as }, context) => {
    if (as === undefined || type === 'text') return;
    context.addIssue({
      code: 'custom',
      path: ['as'],
      message: `it is for text fields, and this one is of type ${type}`,
    });
  });

const keyPart = z.union([
  path,
  z.strictObject({ path: path.meta({ description: 'Where a part of the id is' }), as: asConfig }),
]);

const entityConfig = z
  .strictObject({
    key: z.union([path, z.array(keyPart).min(2, 'a list of 2 to 4 parts').max(4, 'a list of 2 to 4 parts')]).meta({
      description: "Where the entity's id is; a list for an id of several parts: `[$.card.id, $.terminal.id]`",
    }),
    as: asConfig.optional(),
    optional: z.boolean().default(false).meta({ description: 'An event may lack it, or a part of it' }),
    tokenise: z
      .boolean()
      .default(false)
      .meta({ description: 'Outputs carry a keyed hash (HMAC-SHA256) of the id instead' }),
    exact_events: z.int().min(64).max(1_000_000).default(entityDefaults.exactEvents).meta({
      description:
        'So many of the newest events at least are kept one by one; features that need older ones are approximate, with bounds',
    }),
    idle: duration.default(entityDefaults.idle).meta({
      description: 'Windows `all` begin anew after so long without an event',
    }),
  })
  .superRefine(({ key, as }, context) => {
    if (as === undefined || !Array.isArray(key)) return;
    const message = 'with several parts it stands at the part: { path: $.device.ip, as: ip/24 }';
    context.addIssue({ code: 'custom', path: ['as'], message });
  });

/** How a record of any layout becomes a transaction event. */
export const eventConfig = z.strictObject({
  format: z
    .enum(['json', 'csv'])
    .default('json')
    .meta({ description: 'Format of Kafka record values; files say it themselves' }),
  columns: z.array(z.string()).min(1).optional().meta({ description: 'Column names of CSV records from Kafka' }),
  id: path.meta({ description: 'Where the transaction id is' }),
  time: z.strictObject({
    path: path.meta({ description: 'Where the event time is' }),
    unit: z
      .enum(['ms', 's', 'us', 'iso'])
      .meta({ description: 'Epoch milliseconds, seconds, microseconds, or ISO 8601 text' }),
    max_ahead_ms: z.int().min(0).default(300_000).meta({
      description:
        "Events further ahead of the record's timestamp at the broker than this become dead letters; without a timestamp, none. Milliseconds",
    }),
    max: z
      .union([z.int(), z.string()])
      .refine((max) => typeof readConfigTime(max) === 'number', 'a time such as 2027-01-01, or milliseconds since 1970')
      .optional()
      .meta({
        description:
          "Events later than this become dead letters: ISO 8601, or milliseconds since 1970. Nothing else bounds the times of files, and of topics whose timestamps are the producer's own, and one event far in the future takes its entity's history away",
      }),
    allowed_lateness_ms: z.int().min(0).default(3_600_000).meta({
      description: 'Events late by up to this have exact features; state is kept that much longer. Milliseconds',
    }),
  }),
  kind: z
    .union([
      z.strictObject({ const: z.string().min(1).meta({ description: 'Every event is of this kind' }) }),
      z.strictObject({
        path: path.meta({ description: 'Where the kind is' }),
        map: z
          .record(z.string(), z.string().min(1))
          .meta({ description: 'Input value: kind. Others become dead letters' }),
      }),
    ])
    .meta({ description: 'What the event is, e.g. authorization or refund' }),
  refers_to: path.optional().meta({
    description:
      'Where the id of the earlier transaction is that an event is about, e.g. of a chargeback; most have none',
  }),
  unscored: z.array(z.string()).min(1).optional().meta({
    description: 'Kinds that only change the state: such events have no risk event, e.g. `[refund, chargeback]`',
  }),
  deduplicate: z
    .union([
      z.literal(false),
      z.strictObject({
        window: duration
          .default('24h')
          .meta({ description: 'So long an id is remembered, by the newest event time of its source key' }),
        ids_per_key: z
          .int()
          .min(1)
          .max(100_000)
          .default(4096)
          .meta({ description: 'Ids remembered per source key; beyond, the oldest are forgotten' }),
      }),
    ])
    .prefault({})
    .meta({
      description:
        'A transaction id that comes again with the same source key is counted and left out; false: every record counts',
    }),
  fields: z.record(name, fieldConfig).meta({ description: 'Fields that features, filters and rules may use' }),
  entities: z.record(name, entityConfig).meta({ description: 'Whose history is kept: card, account, terminal …' }),
  key: z
    .string()
    .optional()
    .meta({ description: 'The entity that the source is keyed by; its state needs no other partition' }),
  label: z.string().optional().meta({ description: 'Flag field that holds the truth, for the summary of a run' }),
  max_bytes: z.int().min(1).default(1_048_576).meta({ description: 'Longer records become dead letters. Bytes' }),
  token_key: z.string().min(16).optional().meta({ description: 'Key of the tokenised ids, at least 16 characters' }),
});

export type EventConfig = z.output<typeof eventConfig>;
