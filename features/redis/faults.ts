import { describeError, WeirError } from '../../runtime/errors.ts';

/** What Redis answers, by the beginning of its message, in words that say what to do. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [
    /READONLY/,
    'is a read-only replica, most likely after a fail-over; the call is repeated over a new connection; if it stays so, state.redis.url must name the primary',
  ],
  [/^LOADING/, 'is still loading its data; the call is repeated until it has'],
  [/^MASTERDOWN/, 'is a replica without its primary; the call is repeated'],
  [/OOM/, 'has no memory left (maxmemory); give it more: it must never evict state. The call is repeated until then'],
  [/MISCONF/, 'refuses writes because it cannot save to its disk; free the disk. The call is repeated until then'],
  [/NOREPLICAS/, 'refuses writes because it has too few replicas; the call is repeated'],
  [/^NOAUTH/, 'wants a password; set state.redis.password'],
  [
    /^WRONGPASS|invalid password|without any password configured/,
    'refuses the user or the password; check state.redis.username and password',
  ],
  [
    /^NOPERM|The user executing the script|has no permissions/,
    'does not let this user do it; docs/state.md lists what its access control list must allow',
  ],
  [
    /CLUSTERDOWN/,
    'says that its cluster is down: nobody has the slot, or too few nodes are up. The call is repeated until that has ended',
  ],
  [/^TRYAGAIN/, 'is moving the slot to another node; the call is repeated'],
  [/^MOVED|^ASK /, 'is part of a Redis Cluster that does not agree where the slot is; the call is repeated'],
];

const certificateCodes =
  /^(CERT_|ERR_TLS_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|ERR_SSL_|HOSTNAME_MISMATCH)/;

/** True when trying again cannot help: a setting here or at the server must change. */
export function isRefusal(error: unknown): boolean {
  const message = describeError(error);
  return /^(NOAUTH|WRONGPASS|NOPERM)|invalid password|without any password configured/.test(message) || isTls(error);
}

function isTls(error: unknown): boolean {
  return certificateCodes.test(String((error as NodeJS.ErrnoException | undefined)?.code ?? ''));
}

/**
 * The WeirError for anything that went wrong with Redis. The client's own error is not kept as the cause: it holds the command
 * with its arguments, a password among them.
 * @param address host:port
 */
export function redisFault(error: unknown, doing: string, address: string): WeirError {
  if (error instanceof WeirError) return error;
  const message = describeError(error);
  if (isTls(error)) {
    return new WeirError(
      'STORE',
      `Redis at ${address}: TLS failed (${message}); check state.redis.tls and that the port speaks TLS`,
    );
  }
  const refusal = refusals.find(([pattern]) => pattern.test(message));
  if (refusal) return new WeirError('STORE', `Redis at ${address} ${refusal[1]} (${doing}: ${message})`);
  return new WeirError('STORE', `Redis at ${address} failed while ${doing}: ${message}`);
}
