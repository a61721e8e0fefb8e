import { plainKafka } from '../runtime/kafka-client.ts';
import { readHandbook } from '../test/support/handbook.ts';
import { jsonRecord } from './data.ts';

/**
 * Sends transactions at a paced rate and times each from the moment it was due (not the moment it was sent: so a stall of this
 * client or of the broker counts) to the receipt of its risk event by a read_committed consumer. Answers percentiles in ms.
 */
const [brokers, input, output] = process.argv.slice(2);
const perSecond = 2000;
const warmUpSeconds = 8;
const measuredSeconds = 20;
const tickMs = 2;

const kafka = plainKafka({ clientId: 'latency', brokers: brokers.split(',') });
const producer = kafka.producer({ maxInFlightRequests: 5 });
const consumer = kafka.consumer({
  groupId: `latency-${output}`,
  readUncommitted: false,
  minBytes: 1,
  maxWaitTimeInMs: 20,
});
const total = perSecond * (warmUpSeconds + measuredSeconds);
const rows = await readHandbook(total);
const latencies: number[] = [];
let received = 0;
let startedAt = 0;
let finish: () => void = () => {};
const finished = new Promise<void>((resolve) => {
  finish = resolve;
});

const dueAt = (sequence: number) => startedAt + (sequence * 1000) / perSecond;

await producer.connect();
await consumer.connect();
await consumer.subscribe({ topic: output, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  partitionsConsumedConcurrently: 4,
  eachBatch: async ({ batch }) => {
    const now = performance.now();
    for (const { value } of batch.messages) {
      const sequence = Number(/"transaction_id":"(\d+)"/.exec(value!.subarray(0, 200).toString('latin1'))![1]);
      if (sequence >= perSecond * warmUpSeconds) latencies.push(now - dueAt(sequence));
      if (++received === total) finish();
    }
  },
});

startedAt = performance.now() + 3000;
let next = 0;
const timer = setInterval(() => {
  const messages: { key: string; value: string }[] = [];
  for (const now = performance.now(); next < total && dueAt(next) <= now; next++) {
    messages.push({ key: rows[next].customer_id, value: jsonRecord(rows[next], String(next)) });
  }
  if (messages.length > 0) void producer.send({ topic: input, messages });
  if (next >= total) clearInterval(timer);
}, tickMs);
await finished;
latencies.sort((a, b) => a - b);
const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
process.send!({ p50: at(0.5), p99: at(0.99), p999: at(0.999) });
await Promise.all([producer.disconnect(), consumer.disconnect()]);
process.disconnect();
