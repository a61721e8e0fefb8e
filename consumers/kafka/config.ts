import { z } from 'zod';
import { type TlsConfig, tlsConfig } from '../../runtime/config/tls.ts';

const topicName = z
  .string()
  .regex(/^[a-zA-Z0-9._-]{1,249}$/, 'a topic name has 1 to 249 letters, digits, dots, underscores or hyphens');

const milliseconds = (least: number, most: number) => z.int().min(least).max(most);

const sasl = z.strictObject({
  mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).meta({ description: 'How the password is proven' }),
  username: z.string().min(1).meta({ description: 'User name' }),
  password: z.string().min(1).meta({ description: 'Password; better from the environment than in the file' }),
});

const brokers = z
  .array(z.string().regex(/^.+:\d{1,5}$/, 'a broker is host:port'))
  .min(1)
  .meta({ description: 'Brokers to ask first, host:port; the others are learnt from them' });

const tlsKey = tlsConfig.optional().meta({ description: 'TLS: true, or files and options' });
const saslKey = sasl.optional().meta({ description: 'SASL login; absent: none' });

export const kafkaSourceConfig = z.strictObject({
  brokers,
  topic: topicName.meta({ description: 'Topic to read; it must exist' }),
  group: z.string().min(1).meta({ description: 'Consumer group: its members share the partitions' }),
  start: z.enum(['earliest', 'latest']).default('earliest').meta({
    description:
      'Where a partition begins that the group has no position for. With latest, one that the topic gets when the group has begun with others still begins at its first record',
  }),
  client_id: z.string().min(1).default('weir').meta({ description: "Name in the brokers' logs and quotas" }),
  tls: tlsKey,
  sasl: saslKey,
  connect_timeout_ms: milliseconds(100, 600_000)
    .default(30_000)
    .meta({ description: 'How long to try at the start before giving up' }),
  session_timeout_ms: milliseconds(1_000, 1_800_000)
    .default(10_000)
    .meta({ description: 'After this silence the group gives the partitions of a process to others' }),
  heartbeat_interval_ms: milliseconds(50, 600_000).default(250).meta({
    description:
      'How often the group is told that the process lives, and the process learns that the group shares its partitions out anew; well below session_timeout_ms',
  }),
  process_name: z.string().min(1).max(200).optional().meta({
    description:
      'What the process calls itself in the group, the same after a restart: it then gets the partitions back that it had. Default: the host name. Each of --processes N adds its number',
  }),
  topic_refresh_ms: milliseconds(100, 3_600_000)
    .default(10_000)
    .meta({ description: 'How often it is looked whether the topic has more partitions than before' }),
  max_wait_ms: milliseconds(1, 10_000)
    .default(100)
    .meta({ description: 'How long a broker may hold a fetch that has nothing to give' }),
  max_bytes_per_partition: z
    .int()
    .min(1_024)
    .default(1_048_576)
    .meta({ description: 'Most bytes of one partition in one fetch' }),
  prefetch_records: z
    .int()
    .min(1)
    .default(10_000)
    .meta({ description: 'Records of one partition held in memory before fetching pauses' }),
  prefetch_bytes: z
    .int()
    .min(1_024)
    .default(8_388_608)
    .meta({ description: 'Bytes of one partition held in memory before fetching pauses' }),
});

export const kafkaSinkConfig = z
  .strictObject({
    topic: topicName.meta({ description: 'Topic of the risk events; it must exist' }),
    dead_letters: topicName.meta({ description: 'Topic of the records that could not be scored; it must exist' }),
    brokers: brokers.optional().meta({ description: "Brokers, host:port; default: the Kafka source's" }),
    client_id: z
      .string()
      .min(1)
      .optional()
      .meta({ description: "Name in the brokers' logs and quotas; default: the source's, or weir" }),
    tls: tlsConfig
      .optional()
      .meta({ description: "TLS: true, or files and options; default: the source's when brokers are absent" }),
    sasl: sasl.optional().meta({ description: "SASL login; default: the source's when brokers are absent" }),
    connect_timeout_ms: milliseconds(100, 600_000)
      .default(30_000)
      .meta({ description: 'How long to try to reach the brokers before giving up' }),
    compression: z.enum(['none', 'gzip', 'zstd']).default('none').meta({ description: 'Compression of what is sent' }),
    max_message_bytes: z.int().min(10_000).default(1_048_588).meta({
      description:
        "Most bytes of what is sent to a partition at once; not more than the topics' max.message.bytes. A longer dead letter is cut to it, and a record whose key has more than half of it becomes one. Bytes",
    }),
    transaction_timeout_ms: milliseconds(1_000, 900_000)
      .default(60_000)
      .meta({ description: 'After this the broker aborts the transaction of a process that has stopped answering' }),
  })
  .refine(({ topic, dead_letters }) => topic !== dead_letters, {
    path: ['dead_letters'],
    error: 'dead letters need another topic than risk events',
  });

export type KafkaSourceConfig = z.output<typeof kafkaSourceConfig>;
export type KafkaSinkConfig = z.output<typeof kafkaSinkConfig>;

/** What it takes to reach a cluster. */
export interface KafkaConnection {
  readonly brokers: readonly string[];
  readonly client_id: string;
  readonly tls?: TlsConfig;
  readonly sasl?: z.output<typeof sasl>;
  readonly connect_timeout_ms: number;
}

/** The sink's cluster: its own settings, or the source's where it names no brokers. Undefined when neither names any. */
export function sinkConnection(sink: KafkaSinkConfig, source?: KafkaSourceConfig): KafkaConnection | undefined {
  const { connect_timeout_ms } = sink;
  const client_id = sink.client_id ?? source?.client_id ?? 'weir';
  if (sink.brokers !== undefined) {
    return { brokers: sink.brokers, client_id, tls: sink.tls, sasl: sink.sasl, connect_timeout_ms };
  }
  if (source === undefined) return undefined;
  const { brokers, tls, sasl } = source;
  return { brokers, client_id, tls: sink.tls ?? tls, sasl: sink.sasl ?? sasl, connect_timeout_ms };
}

/** Whether one transaction can hold what is read and what is written. */
export function sameCluster(source: KafkaSourceConfig, sink: KafkaSinkConfig): boolean {
  return sink.brokers === undefined || [...sink.brokers].sort().join() === [...source.brokers].sort().join();
}
