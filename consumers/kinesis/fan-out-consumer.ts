import {
  DescribeStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  type KinesisClient,
  RegisterStreamConsumerCommand,
  ResourceInUseException,
  ResourceNotFoundException,
} from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { awsFault } from './faults.ts';

const pollMs = 1_000;
const patienceMs = 120_000;

/** The stream's consumer that the application subscribes as. */
export interface FanOutConsumer {
  /** @throws WeirError CONFIG when a permission is missing; BROKER when there is none that is active. */
  arn(): Promise<string>;
  /** There is no consumer of that ARN any more: one that is registered anew has another. */
  forget(arn: string): void;
}

export function fanOutConsumer(client: KinesisClient, of: ConsumerOf, clock: Clock): FanOutConsumer {
  let known: string | undefined;
  let asking: Promise<string> | undefined;

  async function ask(): Promise<string> {
    try {
      known = await registered(client, of, clock);
      return known;
    } finally {
      asking = undefined;
    }
  }

  return {
    async arn() {
      if (known !== undefined) return known;
      asking ??= ask();
      return asking;
    },
    forget(arn) {
      if (arn === known) known = undefined;
    },
  };
}

interface ConsumerOf {
  readonly stream: string;
  readonly consumer: string;
}

/**
 * The ARN of the stream's consumer of that name, registered when there is none yet, once it is active.
 * @throws WeirError CONFIG when a permission is missing; BROKER when it does not become active.
 */
async function registered(client: KinesisClient, { stream, consumer }: ConsumerOf, clock: Clock): Promise<string> {
  const giveUpAt = clock.monotonic() + patienceMs;
  try {
    const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName: stream }));
    const of = { StreamARN: summary.StreamDescriptionSummary!.StreamARN!, ConsumerName: consumer };
    for (;;) {
      const found = await describe(client, of);
      if (found?.ConsumerStatus === 'ACTIVE') return found.ConsumerARN!;
      if (found === undefined) await register(client, of);
      if (clock.monotonic() >= giveUpAt) break;
      await clock.sleep(pollMs);
    }
  } catch (error) {
    throw awsFault(error, 'Kinesis', `registering consumer ${consumer} of stream ${stream}`);
  }
  const waited = `${patienceMs / 1000} s`;
  throw new WeirError('BROKER', `consumer ${consumer} of stream ${stream} has not become active within ${waited}`);
}

interface ConsumerName {
  readonly StreamARN: string;
  readonly ConsumerName: string;
}

async function describe(client: KinesisClient, of: ConsumerName) {
  try {
    return (await client.send(new DescribeStreamConsumerCommand(of))).ConsumerDescription;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw error;
  }
}

async function register(client: KinesisClient, of: ConsumerName): Promise<void> {
  try {
    await client.send(new RegisterStreamConsumerCommand(of));
  } catch (error) {
    // Another worker was faster.
    if (!(error instanceof ResourceInUseException)) throw error;
  }
}
