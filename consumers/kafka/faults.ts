import { describeError, type ErrorCode, WeirError } from '../../runtime/errors.ts';

/** The protocol's error type ("INVALID_PRODUCER_EPOCH") of anything the client throws, looked for through its causes. */
export function protocolType(error: unknown): string | undefined {
  for (let current = error, depth = 0; current instanceof Error && depth < 6; depth++) {
    const { type, name, message, cause } = current as Error & { type?: string };
    // Producer fencing by newer brokers: an error code that the client's table ends before.
    if (type === 'KAFKAJS_UNKNOWN_ERROR_CODE' && /\b90\b/.test(message)) return 'PRODUCER_FENCED';
    if (type !== undefined) return type;
    if (certificateFaults.has((current as NodeJS.ErrnoException).code ?? '')) return 'CERTIFICATE';
    if (name === 'KafkaJSSASLAuthenticationError') return 'SASL_AUTHENTICATION_FAILED';
    current = cause as Error;
  }
  return undefined;
}

/** Node's codes for a broker's certificate that is not trusted. */
const certificateFaults = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_UNTRUSTED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/**
 * Another producer has taken the transactional id over. An expired id (INVALID_PRODUCER_ID_MAPPING) or a transaction that the
 * broker no longer knows is not among them: opening the output again mends those.
 */
const fencing = new Set(['INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED', 'TRANSACTION_COORDINATOR_FENCED']);

export function isFenced(error: unknown): boolean {
  const type = protocolType(error);
  return type !== undefined && fencing.has(type);
}

/** The group shares its partitions out anew, or has just done so: who is a member still learns it. */
export function isRebalancing(error: unknown): boolean {
  return rebalancing.has(protocolType(error) ?? '');
}

const rebalancing = new Set(['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID']);

/** The broker could not be asked: nothing is known of it. */
export function isUnreachable(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 6; depth++) {
    if (unreachable.has(current.name)) return true;
    current = current.cause;
  }
  return false;
}

const unreachable = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSBrokerNotFound',
  'KafkaJSGroupCoordinatorNotFound',
  'KafkaJSLockTimeout',
]);

/** The partition has another leader, or its broker is away. */
const passing = new Set([
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_FOR_PARTITION',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'REPLICA_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR',
]);

export function isPassing(error: unknown): boolean {
  return passing.has(protocolType(error) ?? '') || isUnreachable(error);
}

const tooLong =
  "does not take record batches of this length; set sink.kafka.max_message_bytes to the least max.message.bytes of the sink's topics, or raise those";

const refusals: Readonly<Record<string, string>> = {
  CERTIFICATE: 'shows a certificate that is not trusted; check tls.ca and tls.servername',
  SASL_AUTHENTICATION_FAILED: 'refused the login; check sasl.username and sasl.password',
  UNSUPPORTED_SASL_MECHANISM: 'does not offer this SASL mechanism; check sasl.mechanism',
  ILLEGAL_SASL_STATE: 'expects no SASL login here; check sasl and the port',
  TOPIC_AUTHORIZATION_FAILED: 'does not let this user use the topic; its access control list must allow it',
  GROUP_AUTHORIZATION_FAILED: 'does not let this user use the consumer group; its access control list must allow it',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    'does not let this user use transactions; its access control list must allow the transactional ids that begin with the group',
  MESSAGE_TOO_LARGE: tooLong,
  RECORD_LIST_TOO_LARGE: tooLong,
  CLUSTER_AUTHORIZATION_FAILED: 'does not let this user do this; its access control list must allow it',
  INVALID_TRANSACTION_TIMEOUT: "refuses the transaction timeout: the broker's transaction.max.timeout.ms is shorter",
  INVALID_SESSION_TIMEOUT:
    "refuses session_timeout_ms: it lies outside the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
};

/** True when trying again cannot help: somebody must change a setting here or at the broker. */
export function isRefusal(error: unknown): boolean {
  const type = protocolType(error);
  return type !== undefined && type in refusals;
}

/** The WeirError for anything that went wrong with a cluster; what is one already stays as it is. */
export function brokerFault(
  error: unknown,
  doing: string,
  brokers: readonly string[],
  code: ErrorCode = 'BROKER',
): WeirError {
  if (error instanceof WeirError) return error;
  const cluster = brokers.join(',');
  const type = protocolType(error);
  const refusal = type === undefined ? undefined : refusals[type];
  if (refusal !== undefined) return new WeirError(code, `Kafka at ${cluster} ${refusal} (${doing})`, { cause: error });
  return new WeirError(code, `Kafka at ${cluster} failed while ${doing}: ${describeError(error)}`, { cause: error });
}

export function missingPartition(topic: string, partition: number, count: number): WeirError {
  return new WeirError('CONFIG', `topic ${topic} has no partition ${partition}: it has ${count}, from 0`);
}

export function missingTopic(topic: string, brokers: readonly string[], code: ErrorCode): WeirError {
  return new WeirError(
    code,
    `topic ${topic} does not exist at ${brokers.join(',')}; create it, for example: ` +
      `kafka-topics.sh --bootstrap-server ${brokers[0]} --create --topic ${topic} --partitions 4`,
  );
}
