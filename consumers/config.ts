import { z } from 'zod';
import { featuresConfig, filtersConfig } from '../features/config.ts';
import { stateConfig } from '../features/state-config.ts';
import { logLevels } from '../runtime/log.ts';
import { modelConfig, policyConfig } from '../scoring/config.ts';
import { alignmentConfig } from './alignment-config.ts';
import { eventConfig } from './decode/config.ts';
import { fileSinkConfig, fileSourceConfig } from './file/config.ts';
import { kafkaSinkConfig, kafkaSourceConfig } from './kafka/config.ts';
import { kinesisSinkConfig, kinesisSourceConfig } from './kinesis/config.ts';

const exactlyOne = (section: object) => Object.values(section).filter((value) => value !== undefined).length === 1;

const sourceConfig = z
  .strictObject({
    kafka: kafkaSourceConfig.optional().meta({ description: 'A Kafka topic' }),
    kinesis: kinesisSourceConfig.optional().meta({ description: 'A Kinesis stream' }),
    file: fileSourceConfig.optional().meta({ description: 'A file, read once to its end' }),
  })
  .refine(exactlyOne, { message: 'a job has exactly one source: kafka, kinesis or file' });

const sinkConfig = z
  .strictObject({
    kafka: kafkaSinkConfig.optional().meta({ description: 'Kafka topics' }),
    kinesis: kinesisSinkConfig.optional().meta({ description: 'Kinesis streams' }),
    file: fileSinkConfig.optional().meta({ description: 'Files' }),
  })
  .refine(exactlyOne, { message: 'a job has exactly one sink: kafka, kinesis or file' });

/** A job: everything that `weir run` needs to know. */
export const jobConfig = z.strictObject({
  job: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/, 'lower-case letters, digits and hyphens, at most 63')
    .meta({ description: 'Name of the job: part of state keys, event sources and logs' }),
  source: sourceConfig.meta({ description: 'Where transactions come from' }),
  event: eventConfig.meta({ description: 'How a record becomes a transaction event' }),
  filters: filtersConfig.default({}),
  features: featuresConfig,
  alignment: alignmentConfig,
  state: stateConfig.meta({ description: "Where the entities' state is kept" }),
  model: modelConfig.meta({ description: 'The model that scores' }),
  policy: policyConfig,
  sink: sinkConfig.meta({ description: 'Where risk events go' }),
  delivery: z.enum(['exactly-once', 'at-least-once']).optional().meta({
    description:
      'at-least-once has lower latency; repeats after a crash carry the same event id; default: exactly-once, but at-least-once where Kinesis takes part, which has no transactions',
  }),
  batch: z
    .strictObject({
      max_events: z.int().min(1).max(10_000).default(1_000).meta({
        description:
          'Most records of a batch; batches are as large as what is at hand, so one when the stream is quiet',
      }),
    })
    .prefault({})
    .meta({ description: 'Batches' }),
  metrics: z
    .strictObject({
      port: z.int().min(0).max(65_535).meta({
        description:
          'Port of /metrics, /healthz and /readyz; process i of --processes N serves at port + i; 0: any free one',
      }),
      host: z.string().min(1).default('0.0.0.0').meta({ description: 'Address to listen on' }),
    })
    .optional()
    .meta({ description: 'Metrics and health over HTTP; absent: none' }),
  log: z
    .strictObject({
      level: z.enum(logLevels).default('info').meta({ description: 'Least severity that is logged' }),
    })
    .prefault({})
    .meta({ description: 'JSON log on standard error' }),
});

export type JobConfig = z.output<typeof jobConfig>;

/** Most bytes of a record's key that surely leave room for its risk event in one message. */
export function longestKey({ sink }: Pick<JobConfig, 'sink'>): number {
  return sink.kafka === undefined ? Number.POSITIVE_INFINITY : sink.kafka.max_message_bytes >> 1;
}

/** As stated, or the best that source and sink can do. */
export function deliveryOf({ source, sink, delivery }: Pick<JobConfig, 'source' | 'sink' | 'delivery'>) {
  return delivery ?? (source.kinesis || sink.kinesis ? 'at-least-once' : 'exactly-once');
}
