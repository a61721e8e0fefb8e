import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AwsService } from '../../infra/services/aws.ts';

/** An error as AWS answers it. */
export interface AwsError {
  readonly status?: number;
  readonly type: string;
  readonly message: string;
}

/** In front of an emulator: counts its requests, and answers some itself as AWS would, where the emulator cannot. */
export interface AwsFront {
  /** http://127.0.0.1:port */
  readonly url: string;
  /** How often each operation was asked for. */
  readonly calls: Readonly<Record<string, number>>;
  /** From now on the operation is answered so; undefined: by the emulator again. */
  answer(operation: string, error: AwsError | undefined): void;
  /** From now on the operation is answered with this, as if it had been carried out. */
  pretend(operation: string, given: object): void;
  /** Breaks the connections of all requests for the operation that are being answered. */
  cut(operation: string): void;
  close(): Promise<void>;
}

export async function awsFront({ url }: Pick<AwsService, 'url'>): Promise<AwsFront> {
  const calls: Record<string, number> = {};
  const answers = new Map<string, { readonly status: number; readonly body: object }>();
  const open = new Map<ServerResponse, string>();

  function handle(incoming: IncomingMessage, answer: ServerResponse): void {
    const operation = String(incoming.headers['x-amz-target']).split('.').at(-1)!;
    calls[operation] = (calls[operation] ?? 0) + 1;
    const own = answers.get(operation);
    if (own !== undefined) {
      incoming.resume();
      answer.writeHead(own.status, { 'content-type': 'application/x-amz-json-1.1' });
      answer.end(JSON.stringify(own.body));
      return;
    }
    const { method, headers } = incoming;
    const outgoing = forward(url, { method, headers, path: incoming.url }, (given) => {
      answer.writeHead(given.statusCode!, given.headers);
      given.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    open.set(answer, operation);
    answer.on('close', () => {
      open.delete(answer);
      outgoing.destroy();
    });
    incoming.pipe(outgoing);
  }

  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    answer(operation, error) {
      if (error === undefined) {
        answers.delete(operation);
        return;
      }
      const { status = 400, type, message } = error;
      answers.set(operation, { status, body: { __type: type, message } });
    },
    pretend: (operation, body) => void answers.set(operation, { status: 200, body }),
    cut(operation) {
      for (const [answer, of] of open) if (of === operation) answer.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What AWS says where the policy lacks the action. */
export function denied(service: 'kinesis' | 'dynamodb', operation: string): AwsError {
  const action = `${service}:${operation}`;
  const user = 'arn:aws:iam::123456789012:user/weir';
  return {
    type: service === 'dynamodb' ? 'com.amazon.coral.service#AccessDeniedException' : 'AccessDeniedException',
    message: `User: ${user} is not authorized to perform: ${action} because no identity-based policy allows the ${action} action`,
  };
}
