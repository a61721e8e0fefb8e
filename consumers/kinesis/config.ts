import { z } from 'zod';

const name = (most: number) =>
  z
    .string()
    .regex(new RegExp(`^[a-zA-Z0-9._-]{1,${most}}$`), `1 to ${most} letters, digits, dots, underscores or hyphens`);

const milliseconds = (least: number, most: number) => z.int().min(least).max(most);

const region = z
  .string()
  .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'a region is a name like eu-central-1')
  .optional();

const endpoint = z.url({ protocol: /^https?$/ }).optional();

export const kinesisSourceConfig = z
  .strictObject({
    stream: name(128).meta({ description: 'Stream to read; it must exist' }),
    application: name(255).meta({
      description: 'Name of the group of workers that share the shards: the name of its lease table unless stated',
    }),
    lease_table: name(255).optional().meta({
      description:
        'DynamoDB table of the leases, in the format of the Kinesis Client Library 2.x; made when missing; default: application',
    }),
    process_name: z.string().min(1).max(200).optional().meta({
      description:
        "What the process's name in the lease table begins with; a part that is new at each start follows. Default: the host name. Each of --processes N adds its number",
    }),
    region: region.meta({ description: "AWS region; default: the environment's" }),
    endpoint: endpoint.meta({ description: "Address of Kinesis, http:// or https://; default: the region's" }),
    dynamodb_endpoint: endpoint.meta({
      description: "Address of DynamoDB, http:// or https://; default: the region's",
    }),
    start: z
      .enum(['trim-horizon', 'latest', 'at-timestamp'])
      .default('trim-horizon')
      .meta({ description: 'Where the stream begins for an application that has no leases yet' }),
    start_at: z.iso
      .datetime({ offset: true })
      .optional()
      .meta({ description: 'Time from which records are read, with start: at-timestamp, RFC 3339' }),
    failover_time_ms: milliseconds(1_000, 600_000).default(10_000).meta({
      description:
        'After this silence of a worker the others take its shards; the same as that of other applications that share the lease table',
    }),
    shard_sync_interval_ms: milliseconds(1_000, 3_600_000)
      .default(60_000)
      .meta({ description: "How often the stream's shards are compared with the leases" }),
    poll_interval_ms: milliseconds(200, 60_000).default(500).meta({
      description:
        'Wait between two requests to a shard that had nothing new; five a second are allowed over all readers',
    }),
    max_records: z
      .int()
      .min(1)
      .max(10_000)
      .default(5_000)
      .meta({ description: 'Most records of one request to a shard' }),
    prefetch_records: z
      .int()
      .min(1)
      .default(10_000)
      .meta({ description: 'User records of one shard held in memory before reading pauses' }),
    prefetch_bytes: z
      .int()
      .min(1_024)
      .default(8_388_608)
      .meta({ description: 'Bytes of one shard held in memory before reading pauses' }),
    fan_out: z
      .strictObject({
        consumer: name(128).optional().meta({
          description:
            "Name of the stream's consumer that the application subscribes as; registered when missing; default: application. One of its own for each application: two with the same take each other's subscriptions",
        }),
      })
      .optional()
      .meta({ description: 'Enhanced fan-out: Kinesis pushes records, at its price; absent: they are polled' }),
    checkpoint_interval_ms: milliseconds(0, 60_000).default(1_500).meta({
      description:
        "Least time between two writes of a shard's position; what was published since the last one is published again after a crash. At most 0.4 of failover_time_ms",
    }),
    max_leases: z.int().min(1).default(1_000).meta({ description: 'Most shards of one process' }),
  })
  .refine(({ start, start_at }) => (start === 'at-timestamp') === (start_at !== undefined), {
    path: ['start_at'],
    error: 'start_at goes with start: at-timestamp, and with it alone',
  })
  .refine(({ application, lease_table = application }) => lease_table.length >= 3, {
    path: ['lease_table'],
    error: 'the name of a DynamoDB table has 3 characters at least',
  })
  .refine((config) => (fanOutConsumerName(config)?.length ?? 0) <= 128, {
    path: ['fan_out', 'consumer'],
    error: 'the name of the application is too long for a consumer, which then needs one of its own',
  });

export const kinesisSinkConfig = z
  .strictObject({
    stream: name(128).meta({ description: 'Stream of the risk events; it must exist' }),
    dead_letters: name(128).meta({ description: 'Stream of the records that could not be scored; it must exist' }),
    region: region.meta({ description: "AWS region; default: the Kinesis source's, else the environment's" }),
    endpoint: endpoint.meta({
      description: "Address of Kinesis, http:// or https://; default: the Kinesis source's, else the region's",
    }),
    max_request_bytes: z
      .int()
      .min(1_048_576)
      .max(10_485_760)
      .default(5_242_880)
      .meta({ description: 'Most bytes of one PutRecords request; 10485760 where AWS allows it. Bytes' }),
    max_record_bytes: z.int().min(10_000).max(10_485_760).default(1_048_576).meta({
      description: 'Most bytes of one record with its key, as the stream allows; a longer dead letter is cut to it',
    }),
    patience_ms: milliseconds(1_000, 600_000).default(30_000).meta({
      description:
        'How long records that Kinesis refuses are tried again, while it takes none of them, before the partition begins anew',
    }),
  })
  .refine(({ stream, dead_letters }) => stream !== dead_letters, {
    path: ['dead_letters'],
    error: 'dead letters need another stream than risk events',
  })
  .refine(({ max_record_bytes, max_request_bytes }) => max_record_bytes <= max_request_bytes, {
    path: ['max_record_bytes'],
    error: 'a record cannot be longer than a request',
  });

export type KinesisSinkConfig = z.output<typeof kinesisSinkConfig>;
export type KinesisSourceConfig = z.output<typeof kinesisSourceConfig>;

export function leaseTableName({ lease_table, application }: KinesisSourceConfig): string {
  return lease_table ?? application;
}

interface FanOutNames {
  readonly fan_out?: { readonly consumer?: string };
  readonly application: string;
}

/** As the library does, the application subscribes by its own name unless another is stated; undefined: it polls. */
export function fanOutConsumerName({ fan_out, application }: FanOutNames): string | undefined {
  return fan_out && (fan_out.consumer ?? application);
}

/** Where the sink's streams are: its own settings, or the source's. */
export function sinkRegion(sink: KinesisSinkConfig, source?: KinesisSourceConfig) {
  const isOwn = sink.region !== undefined || sink.endpoint !== undefined;
  const { region, endpoint } = isOwn ? sink : (source ?? sink);
  return { region, endpoint };
}

/** Which of the sink's streams is the one that the job reads. */
export function streamsRead(sink: KinesisSinkConfig, source: KinesisSourceConfig): ('stream' | 'dead_letters')[] {
  const { region, endpoint } = sinkRegion(sink, source);
  if (region !== source.region || endpoint !== source.endpoint) return [];
  return (['stream', 'dead_letters'] as const).filter((key) => sink[key] === source.stream);
}
