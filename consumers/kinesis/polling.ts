import {
  ExpiredIteratorException,
  GetRecordsCommand,
  type GetRecordsCommandOutput,
  GetShardIteratorCommand,
  type GetShardIteratorCommandInput,
  InvalidArgumentException,
  type KinesisClient,
  ResourceNotFoundException,
} from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Random } from '../../runtime/random.ts';
import { awsFault, isThrottled } from './faults.ts';
import { checkOrigin } from './origin.ts';
import type { LogStart, ShardLog, ShardPage, ShardPages } from './shard-log.ts';
import { pageOf } from './stream-records.ts';
import { followTrail } from './trail.ts';

export interface PollingOptions {
  readonly stream: string;
  readonly shard: string;
  /** Most records of a request. */
  readonly maxRecords: number;
  /** Least time between two requests while there is nothing new, milliseconds. */
  readonly idleMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when the shard is not this process's any more. */
  readonly signal: AbortSignal;
  readonly onThrottled: () => void;
}

/** Kinesis answers five requests a second and shard, to all applications together. */
const leastWaitMs = 200;
/** And gives 2 MB a second. */
const bytesPerMs = 2_000;
const longestWaitMs = 10_000;

/** A shard read by GetRecords. However often it is opened, its requests keep to what Kinesis allows a shard. */
export function pollShard(client: KinesisClient, options: PollingOptions): ShardLog {
  const { stream, shard, clock, random } = options;
  const name = `shard ${shard} of stream ${stream}`;
  let dueAt = Number.NEGATIVE_INFINITY;
  let throttledMs = 0;

  async function iteratorFor(start: Partial<GetShardIteratorCommandInput>): Promise<string> {
    const place = { StreamName: stream, ShardId: shard, ...start } as GetShardIteratorCommandInput;
    return (await client.send(new GetShardIteratorCommand(place))).ShardIterator!;
  }

  function throttled(): void {
    options.onThrottled();
    throttledMs = Math.min(Math.max(leastWaitMs, 2 * throttledMs), longestWaitMs);
    // Readers that were refused together should not come back together.
    dueAt = clock.monotonic() + throttledMs * (0.5 + random.next());
  }

  function answered(page: ShardPage): void {
    throttledMs = 0;
    const isIdle = page.records.length === 0 && page.millisBehind === 0;
    const bytes = page.records.reduce((sum, { data }) => sum + data.length, 0);
    const waitMs = isIdle ? Math.max(options.idleMs, leastWaitMs) : Math.max(leastWaitMs, bytes / bytesPerMs);
    dueAt = clock.monotonic() + waitMs;
  }

  function open(from: LogStart): ShardPages {
    const closing = new AbortController();
    const signal = AbortSignal.any([options.signal, closing.signal]);
    let start = startOf(from);
    let iterator: string | undefined;
    const origin = checkOrigin(name);
    const trail = followTrail(clock);
    let isOver = false;

    async function ask(): Promise<ShardPage> {
      const doubted = trail.doubted(iterator === undefined);
      if (doubted !== undefined) {
        start = beginAt(doubted);
        iterator = undefined;
      }
      iterator ??= await iteratorFor(start);
      const askedAt = clock.now();
      const command = new GetRecordsCommand({ ShardIterator: iterator, Limit: options.maxRecords });
      const answer: GetRecordsCommandOutput = await client.send(command);
      const read = pageOf(
        answer.Records ?? [],
        answer.MillisBehindLatest,
        answer.NextShardIterator,
        answer.ChildShards,
      );
      origin.read(read);
      iterator = answer.NextShardIterator;
      isOver = read.children !== undefined;
      const last = read.records.at(-1);
      if (last !== undefined) {
        start = { ShardIteratorType: 'AFTER_SEQUENCE_NUMBER', StartingSequenceNumber: last.sequence };
      }
      return trail.follow(read, askedAt);
    }

    /** Undefined when the request is to be made again. */
    async function attempt(): Promise<ShardPage | undefined> {
      dueAt = clock.monotonic() + leastWaitMs;
      try {
        const page = await ask();
        answered(page);
        return page;
      } catch (error) {
        if (isThrottled(error)) throttled();
        else if (error instanceof ExpiredIteratorException) iterator = undefined;
        else if (error instanceof InvalidArgumentException && start.ShardIteratorType === 'AT_SEQUENCE_NUMBER') {
          origin.refused(start.StartingSequenceNumber!);
          start = { ShardIteratorType: 'TRIM_HORIZON' };
        } else throw faultOf(error, name);
        return undefined;
      }
    }

    return {
      async next() {
        for (;;) {
          if (isOver) await never(signal);
          await clock.sleep(Math.max(0, dueAt - clock.monotonic()), signal);
          if (signal.aborted) throw new WeirError('FENCED', `${name} is not read by this process any more`);
          const page = await attempt();
          if (page !== undefined) return page;
        }
      },
      close: () => closing.abort(),
    };
  }

  return { open };
}

function startOf(from: LogStart): Partial<GetShardIteratorCommandInput> {
  if (from.kind === 'beginning') return { ShardIteratorType: 'TRIM_HORIZON' };
  if (from.kind === 'since') return { ShardIteratorType: 'AT_TIMESTAMP', Timestamp: new Date(from.time) };
  return beginAt(from.sequence);
}

function beginAt(sequence: string): Partial<GetShardIteratorCommandInput> {
  return { ShardIteratorType: 'AT_SEQUENCE_NUMBER', StartingSequenceNumber: sequence };
}

function never(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

export function faultOf(error: unknown, name: string): WeirError {
  if (!(error instanceof ResourceNotFoundException)) return awsFault(error, 'Kinesis', `reading ${name}`);
  const message = `${name} does not exist any more: the stream seems to have been deleted, or created anew; use another application`;
  return new WeirError('INPUT', message, { cause: error });
}
