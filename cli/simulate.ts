import { randomInt } from 'node:crypto';
import { Command } from 'commander';
import { systemClock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import { stopSignal } from '../runtime/stop-signal.ts';
import {
  type EventStream,
  type EventStreamOptions,
  type SimulatedEvent,
  simulateEvents,
} from '../simulator/event-stream.ts';
import { writeLines } from '../simulator/file-output.ts';
import { type KafkaKey, type KafkaOutputOptions, sendToKafka } from '../simulator/kafka-output.ts';
import { customersForRate, defaultStart } from '../simulator/stream.ts';
import { timeOption } from './time-option.ts';
import { wholeNumber } from './whole-number.ts';

interface Flags {
  events?: string;
  seed?: string;
  start?: string;
  customers?: string;
  terminals?: string;
  format?: string;
  out?: string;
  kafka?: string;
  topic?: string;
  rate?: string;
  partitions?: string;
  key?: string;
  eventTime?: string;
  labels?: boolean;
  late?: string;
}

const defaultEvents = 50_000;
const largestSeed = 2 ** 32 - 1;

const examples = `
Examples:
  $ weir simulate --events 50000 --seed 7 --out transactions.jsonl
  $ weir simulate --events 10000000 --format csv --out transactions.csv.gz
  $ weir simulate --seed 7 | head -3
  $ weir simulate --events 50000 --customers 300 --labels --late 0.02 --out labelled.jsonl
  $ weir simulate --kafka localhost:9092 --topic transactions --partitions 4 --rate 200   (until Ctrl-C)

The same seed and options give the same stream, byte for byte. A shopper makes about two transactions a day: without
--customers their number follows from --events, or from --rate when events are sent live. Labels come on top of --events.`;

/** `weir simulate`: labelled card transactions to a file, to standard output or into Kafka. */
export function simulateCommand(): Command {
  return new Command('simulate')
    .description('make a seeded stream of card transactions with labelled fraud')
    .option('--events <n>', `how many (default ${defaultEvents}; into Kafka: without end)`)
    .option('--seed <n>', `0 to ${largestSeed} (default: drawn, and printed)`)
    .option(
      '--start <time>',
      `event time of the beginning, ISO 8601 with its zone (default ${new Date(defaultStart).toISOString()})`,
    )
    .option('--customers <n>', 'shoppers')
    .option('--terminals <n>', 'terminals (default: a quarter of the shoppers)')
    .option('--labels', 'add refunds, chargebacks and fraud reports, days to weeks later, and e-mail and location')
    .option('--late <share>', 'share of events that arrive minutes to hours late, e.g. 0.02 (default 0)')
    .option('--format <name>', 'jsonl or csv (default: by the ending of --out, else jsonl)')
    .option('--out <file>', 'file to write, compressed if it ends in .gz; - is standard output (default)')
    .option('--kafka <brokers>', 'send to these brokers (host:port,…) instead')
    .option('--topic <name>', 'topic to send to')
    .option('--rate <per-second>', 'events per second (default: as fast as the broker takes them)')
    .option('--partitions <n>', 'create the topic with so many partitions if it is missing')
    .option('--key <entity>', 'record key: card, account or terminal (default card)')
    .option('--event-time <mode>', 'live (the time of sending; default with --rate) or simulated (default without)')
    .addHelpText('after', examples)
    .action(simulate);
}

async function simulate(flags: Flags): Promise<void> {
  const signal = stopSignal(systemClock);
  if (flags.kafka === undefined) await simulateToFile(flags, signal);
  else await simulateToKafka(flags, flags.kafka, signal);
}

async function simulateToFile(flags: Flags, signal: AbortSignal): Promise<void> {
  const misplaced = (['topic', 'rate', 'partitions', 'key', 'eventTime'] as const).find((f) => flags[f] !== undefined);
  if (misplaced !== undefined) throw new WeirError('CONFIG', `${flagName(misplaced)} needs --kafka BROKERS`);
  const out = flags.out ?? '-';
  const format = choice(flags, 'format', ['jsonl', 'csv']) ?? (/\.csv(\.gz)?$/.test(out) ? 'csv' : 'jsonl');
  const simulation = simulationOptions(flags, defaultEvents);
  const told = { transactions: 0, frauds: 0, labels: 0, last: simulation.start ?? defaultStart };
  announce(simulation);
  await writeLines(formatted(simulateEvents(simulation), format, told, signal), out);
  const share = ((100 * told.frauds) / Math.max(1, told.transactions)).toFixed(2);
  const labels = simulation.labels ? ` and ${told.labels} labels` : '';
  const where = out === '-' ? 'standard output' : out;
  const until = new Date(told.last).toISOString();
  note(`${told.transactions} transactions${labels} through ${until}, ${share} % fraud, to ${where}`);
}

function* formatted<T extends SimulatedEvent>(
  stream: EventStream<T>,
  format: 'jsonl' | 'csv',
  told: { transactions: number; frauds: number; labels: number; last: number },
  signal: AbortSignal,
): Generator<string> {
  if (format === 'csv') yield stream.csvHeader;
  for (const event of stream.events) {
    if (event.type === 'authorization') told.transactions++;
    else told.labels++;
    if (event.fraud) told.frauds++;
    told.last = Math.max(told.last, event.ts);
    yield format === 'csv' ? stream.csvLine(event) : stream.jsonLine(event);
    if (signal.aborted) return;
  }
}

async function simulateToKafka(flags: Flags, brokers: string, signal: AbortSignal): Promise<void> {
  const misplaced = (['out', 'format'] as const).find((flag) => flags[flag] !== undefined);
  if (misplaced !== undefined) throw new WeirError('CONFIG', `${flagName(misplaced)} does not go with --kafka`);
  const output = kafkaOptions(flags, brokers, signal);
  const simulation = simulationOptions(flags, Number.POSITIVE_INFINITY);
  const isLive = output.eventTime === 'live';
  const customers = simulation.customers ?? (isLive ? customersForRate(output.perSecond) : undefined);
  announce(simulation);
  if (isLive && simulation.lateShare > 0) throw new WeirError('CONFIG', '--late does not go with live event times');
  const { events, seconds } = await sendToKafka(simulateEvents({ ...simulation, customers }), output);
  const rate = seconds > 0 ? Math.round(events / seconds) : 0;
  note(`${events} events to ${output.topic} in ${seconds.toFixed(1)} s, ${rate} per second`);
}

function kafkaOptions(flags: Flags, brokers: string, signal: AbortSignal): KafkaOutputOptions {
  const list = brokers.split(',').map((broker) => broker.trim());
  const wrong = list.find((broker) => !/^[^\s:]+:\d+$|^\[[\da-f:]+\]:\d+$/i.test(broker));
  if (wrong !== undefined) throw new WeirError('CONFIG', `--kafka wants host:port[,host:port…], not "${wrong}"`);
  if (flags.topic === undefined) throw new WeirError('CONFIG', '--kafka needs --topic NAME');
  if (!/^[\w.-]{1,249}$/.test(flags.topic)) {
    throw new WeirError('CONFIG', `--topic wants letters, digits, ".", "_" and "-", not "${flags.topic}"`);
  }
  const perSecond = flags.rate === undefined ? Number.POSITIVE_INFINITY : Number(flags.rate);
  if (!(perSecond > 0)) throw new WeirError('CONFIG', `--rate wants a number above 0, not "${flags.rate}"`);
  const eventTime = choice(flags, 'eventTime', ['live', 'simulated']);
  return {
    brokers: list,
    topic: flags.topic,
    key: choice<KafkaKey>(flags, 'key', ['card', 'account', 'terminal']) ?? 'card',
    perSecond,
    eventTime: eventTime ?? (flags.rate === undefined ? 'simulated' : 'live'),
    partitions: whole(flags, 'partitions', 1, 10_000),
    clock: systemClock,
    signal,
  };
}

function simulationOptions(flags: Flags, events: number): EventStreamOptions {
  return {
    seed: whole(flags, 'seed', 0, largestSeed) ?? randomInt(largestSeed + 1),
    events: whole(flags, 'events', 0, Number.MAX_SAFE_INTEGER) ?? events,
    customers: whole(flags, 'customers', 10, 5_000_000),
    terminals: whole(flags, 'terminals', 10, 1_000_000),
    start: flags.start === undefined ? undefined : timeOption('--start', flags.start),
    labels: flags.labels === true,
    lateShare: shareOf(flags.late),
  };
}

function shareOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const share = text.trim() === '' ? Number.NaN : Number(text);
  if (!(share >= 0 && share <= 1)) throw new WeirError('CONFIG', `--late wants a share from 0 to 1, not "${text}"`);
  return share;
}

function whole(flags: Flags, flag: Exclude<keyof Flags, 'labels'>, low: number, high: number): number | undefined {
  const text = flags[flag];
  if (text === undefined) return undefined;
  return wholeNumber(flagName(flag), text, low, high);
}

function choice<T extends string>(
  flags: Flags,
  flag: Exclude<keyof Flags, 'labels'>,
  allowed: readonly T[],
): T | undefined {
  const text = flags[flag];
  if (text === undefined || allowed.includes(text as T)) return text as T | undefined;
  throw new WeirError('CONFIG', `${flagName(flag)} wants ${allowed.join(' or ')}, not "${text}"`);
}

const flagName = (flag: keyof Flags): string => `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

const announce = ({ seed }: EventStreamOptions): void => note(`seed ${seed}`);

const note = (text: string): void => {
  process.stderr.write(`simulate: ${text}\n`);
};
