import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { z } from 'zod';
import { describeError, WeirError } from '../errors.ts';
import { filePath } from './path.ts';

/** TLS of a connection: true, or files and options. */
export const tlsConfig = z.union([
  z.boolean(),
  z.strictObject({
    ca: filePath().optional().meta({ description: 'PEM file of the authorities to trust; default: those of Node.js' }),
    cert: filePath().optional().meta({ description: 'PEM file of the client certificate, for mutual TLS' }),
    key: filePath().optional().meta({ description: "PEM file of the client certificate's private key" }),
    servername: z.string().optional().meta({ description: 'Name to expect in the certificate; default: the host' }),
    reject_unauthorized: z
      .boolean()
      .default(true)
      .meta({ description: 'False accepts any certificate: for trials only' }),
  }),
]);

export type TlsConfig = z.output<typeof tlsConfig>;

/**
 * Options for node:tls.
 * @param key the config key that the files are named under, for the error.
 * @throws WeirError CONFIG when a file cannot be read.
 */
export function tlsOptions(tls: TlsConfig, key: string): ConnectionOptions {
  if (typeof tls === 'boolean') return {};
  return {
    ca: readPem(tls.ca, `${key}.ca`),
    cert: readPem(tls.cert, `${key}.cert`),
    key: readPem(tls.key, `${key}.key`),
    ...(tls.servername === undefined ? {} : { servername: tls.servername }),
    rejectUnauthorized: tls.reject_unauthorized,
  };
}

function readPem(path: string | undefined, key: string): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new WeirError('CONFIG', `${key}: ${path} cannot be read: ${describeError(error)}`, { cause: error });
  }
}
