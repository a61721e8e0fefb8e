import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Admin, type ISocketFactoryArgs, Kafka, logLevel, type SASLOptions } from 'kafkajs';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { tlsOptions } from '../../runtime/config/tls.ts';
import { describeError, type ErrorCode, WeirError } from '../../runtime/errors.ts';
import { installCodecs } from './codecs.ts';
import type { KafkaConnection } from './config.ts';
import { installCoordinatorLookup } from './coordinators.ts';
import { installEncodedMessages } from './encoded-messages.ts';
import { brokerFault, isRefusal, missingTopic, protocolType } from './faults.ts';
import { installPartitionsApart } from './fetch-answer.ts';
import { installTakingPart } from './hanging.ts';
import { encodeInPlace } from './in-place.ts';
import { installLeaderless } from './leaderless.ts';
import { repairClient } from './repairs.ts';
import { installStableOffsets } from './stable-offsets.ts';

/** What the adapters need of the client; groups are joined by group-member.ts. */
export type KafkaClient = Pick<Kafka, 'admin' | 'producer' | 'consumer'>;

/** The part of a logger that the adapters use. */
export interface KafkaLog {
  debug(details: object, message: string): void;
  warn(details: object, message: string): void;
}

const keepAliveMs = 60_000;
const connectMs = 3_000;
/** A request without an answer fails after it. */
export const requestMs = 30_000;

/** All settings are given: the client's own defaults change with NODE_ENV. */
export const retrySettings = { initialRetryTime: 100, maxRetryTime: 2_000, multiplier: 2, factor: 0.2, retries: 5 };

export function createClient(connection: KafkaConnection, log?: KafkaLog): Kafka {
  repairClient();
  installStableOffsets();
  installLeaderless();
  installPartitionsApart();
  installCodecs();
  installEncodedMessages();
  encodeInPlace();
  installCoordinatorLookup();
  installTakingPart();
  return new Kafka({
    brokers: [...connection.brokers],
    clientId: connection.client_id,
    ssl: typeof connection.tls === 'object' ? tlsOptions(connection.tls, 'tls') : connection.tls === true,
    // A copy: the client writes into it.
    sasl: connection.sasl && ({ ...connection.sasl } as SASLOptions),
    connectionTimeout: connectMs,
    requestTimeout: requestMs,
    retry: retrySettings,
    socketFactory: openSocket,
    // The client repeats what it then throws; its own words are for finding faults in it.
    logLevel: log === undefined ? logLevel.NOTHING : logLevel.WARN,
    logCreator:
      () =>
      ({ namespace, log: entry }) => {
        log?.debug({ kafka: namespace, error: entry.error }, entry.message);
      },
  });
}

/** As the client's own, and without Nagle's delay: requests are small and somebody waits for each. */
function openSocket({ host, port, ssl, onConnect }: ISocketFactoryArgs): Socket {
  const socket = ssl
    ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }), ...ssl }, onConnect)
    : connectTcp({ host, port }, onConnect);
  socket.setKeepAlive(true, keepAliveMs);
  socket.setNoDelay(true);
  return socket;
}

/** How many partitions each topic has. */
export type PartitionCounts = ReadonlyMap<string, number>;

/**
 * Connects and looks the topics up, again and again until `connect_timeout_ms` is over.
 * @param demand what else has to be so; a WeirError of it ends the tries.
 * @throws WeirError BROKER when the cluster does not answer in time or refuses; `missing` when a topic does not exist.
 */
export async function connectAdmin(
  client: KafkaClient,
  connection: KafkaConnection,
  topics: readonly string[],
  missing: ErrorCode,
  clock: Clock,
  signal?: AbortSignal,
  demand: (admin: Admin) => Promise<void> = async () => {},
): Promise<{ admin: Admin; partitions: PartitionCounts }> {
  const { brokers, connect_timeout_ms } = connection;
  const deadline = clock.monotonic() + connect_timeout_ms;
  const backoff = createBackoff(100, 2_000);
  for (;;) {
    const admin = client.admin({ retry: { ...retrySettings, retries: 1 } });
    try {
      await admin.connect();
      const partitions = await countPartitions(admin, topics, brokers, missing);
      await demand(admin);
      return { admin, partitions };
    } catch (error) {
      await admin.disconnect().catch(() => undefined);
      if (error instanceof WeirError) throw error;
      if (isRefusal(error)) throw brokerFault(error, 'connecting', brokers);
      const left = deadline - clock.monotonic();
      if (left <= 0 || signal?.aborted) throw unreachable(error, connection);
      await clock.sleep(Math.min(backoff.next(), left), signal);
    }
  }
}

function unreachable(error: unknown, { brokers, connect_timeout_ms }: KafkaConnection): WeirError {
  return new WeirError(
    'BROKER',
    `Kafka at ${brokers.join(',')} cannot be reached (tried for ${connect_timeout_ms / 1000} s): ` +
      `check brokers, tls and sasl, and that the broker runs; ${describeError(error)}`,
  );
}

/** @throws WeirError `missing` when a topic does not exist. */
export async function countPartitions(
  admin: Admin,
  topics: readonly string[],
  brokers: readonly string[],
  missing: ErrorCode,
): Promise<PartitionCounts> {
  const counts = new Map<string, number>();
  for (const topic of topics) {
    try {
      const { topics: found } = await admin.fetchTopicMetadata({ topics: [topic] });
      counts.set(topic, found[0].partitions.length);
    } catch (error) {
      if (protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION') throw missingTopic(topic, brokers, missing);
      throw error;
    }
  }
  return counts;
}
