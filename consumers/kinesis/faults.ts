import { describeError, WeirError } from '../../runtime/errors.ts';

const refusals: Readonly<Record<string, string>> = {
  AccessDeniedException: 'does not let this user do this; docs/kinesis.md has the policy that is needed',
  UnrecognizedClientException: 'does not know these credentials; check AWS_ACCESS_KEY_ID or the role, and the region',
  InvalidSignatureException: 'refuses the signature; check the secret key and the clock of this machine',
  ExpiredTokenException: 'says that the credentials have expired; renew them',
  InvalidClientTokenId: 'does not know these credentials; check AWS_ACCESS_KEY_ID or the role',
  CredentialsProviderError: 'needs credentials, and none were found; set AWS_ACCESS_KEY_ID, a profile or a role',
  ValidationException: 'refuses the request',
  SerializationException: 'is no such service; check the endpoint',
  UnknownOperationException: 'is no such service; check the endpoint',
};

export type AwsService = 'Kinesis' | 'DynamoDB';

/** AWS's own name of what went wrong. */
export function faultName(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** True when trying again cannot help: somebody must change something here or at AWS. */
export function isRefusal(error: unknown): boolean {
  return faultName(error) in refusals || isMissingRegion(error);
}

/** Asked too often: told apart because it is counted, and backed off from. */
export function isThrottled(error: unknown): boolean {
  return /Throttl|ProvisionedThroughputExceeded|LimitExceeded|RequestLimitExceeded/.test(faultName(error));
}

/** The WeirError for anything that went wrong with a service: CONFIG when a person must change something, BROKER when it may pass. */
export function awsFault(error: unknown, service: AwsService, doing: string): WeirError {
  if (error instanceof WeirError) return error;
  const name = faultName(error);
  if (isMissingRegion(error)) {
    return new WeirError('CONFIG', `${service} needs a region (${doing}): set source.kinesis.region or AWS_REGION`);
  }
  const refusal = refusals[name];
  if (refusal !== undefined) return new WeirError('CONFIG', `${service} ${refusal} (${doing})`, { cause: error });
  return new WeirError('BROKER', `${service} failed while ${doing}: ${name}: ${describeError(error)}`);
}

function isMissingRegion(error: unknown): boolean {
  return error instanceof Error && error.message === 'Region is missing';
}
