import { describeError, WeirError } from '../../runtime/errors.ts';

const refusals: Readonly<Record<string, string>> = {
  UnrecognizedClientException: 'does not know these credentials; check AWS_ACCESS_KEY_ID or the role, and the region',
  InvalidSignatureException: 'refuses the signature; check the secret key and the clock of this machine',
  ExpiredTokenException: 'says that the credentials have expired; renew them',
  InvalidClientTokenId: 'does not know these credentials; check AWS_ACCESS_KEY_ID or the role',
  CredentialsProviderError: 'needs credentials, and none were found; set AWS_ACCESS_KEY_ID, a profile or a role',
  KMSDisabledException: 'cannot use the key that the stream is encrypted with; enable it',
  KMSInvalidStateException: 'cannot use the key that the stream is encrypted with; see its state in AWS KMS',
  KMSNotFoundException:
    'does not find the key that the stream is encrypted with; restore it, or give the stream another',
  KMSOptInRequired: 'cannot use the key that the stream is encrypted with: its account has not opted in to AWS KMS',
  ValidationException: 'refuses the request',
  SerializationException: 'is no such service; check the endpoint',
  UnknownOperationException: 'is no such service; check the endpoint',
};

export type AwsService = 'Kinesis' | 'DynamoDB';

/** AWS's own name of what went wrong. */
export function faultName(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** Which request an error answers, by the SDK's name of its command. */
const commands = new WeakMap<object, string>();

/** Notes it; the first who does so knows best. @param command as the SDK calls it, such as GetRecordsCommand. */
export function answersTo(error: unknown, command: string | undefined): void {
  if (error instanceof Error && command !== undefined && !commands.has(error)) commands.set(error, command);
}

/** Asked too often: told apart because it is counted, and backed off from. */
export function isThrottled(error: unknown): boolean {
  return isThrottle(faultName(error));
}

/** The same by AWS's name of it. */
export function isThrottle(name: string): boolean {
  return /Throttl|ProvisionedThroughputExceeded|LimitExceeded/.test(name);
}

/** The WeirError for anything that went wrong with a service: CONFIG when a person must change something, BROKER when it may pass. */
export function awsFault(error: unknown, service: AwsService, doing: string): WeirError {
  if (error instanceof WeirError) return error;
  const name = faultName(error);
  const refusal = refusalOf(error, service);
  if (refusal !== undefined) return new WeirError('CONFIG', `${service} ${refusal} (${doing})`, { cause: error });
  const host = unknownHost(error);
  // A resolver that is disturbed says the same, so it may pass.
  if (host !== undefined) {
    const advice = 'check region and endpoint in the config, AWS_REGION, and the name server';
    return new WeirError('BROKER', `${service} was not found while ${doing}: no host is named ${host}; ${advice}`);
  }
  return new WeirError('BROKER', `${service} failed while ${doing}: ${name}: ${describeError(error)}`);
}

/** What a person must change, as the end of a sentence that begins with the service. */
function refusalOf(error: unknown, service: AwsService): string | undefined {
  if (error instanceof Error && error.message === 'Region is missing') {
    return 'needs a region; set it in the config beside the stream, or AWS_REGION';
  }
  const name = faultName(error);
  if (name === 'AccessDeniedException') {
    const action = actionOf(error, service);
    return `does not let this user do this; allow ${action} in its policy, docs/kinesis.md has the whole of it`;
  }
  if (name === 'KMSAccessDeniedException') {
    return "does not let this user use the stream's key; allow kms:Decrypt to read, kms:GenerateDataKey to write";
  }
  return refusals[name];
}

/** The IAM action that the refused request needs: AWS names both alike. */
function actionOf(error: unknown, service: AwsService): string {
  const command = commands.get(error as Error);
  return command === undefined ? 'it' : `${service.toLowerCase()}:${command.replace(/Command$/, '')}`;
}

/** The SDK may wrap what the resolver said. */
function unknownHost(error: unknown): string | undefined {
  return /getaddrinfo ENOTFOUND (\S+)/.exec(describeError(error))?.[1];
}
