import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type KafkaService, startKafka } from '../../infra/services/start.ts';
import type { Clock } from '../../runtime/clock.ts';
import { type KafkaOutputOptions, sendToKafka } from '../../simulator/kafka-output.ts';
import { type SimulationOptions, simulateTransactions } from '../../simulator/stream.ts';
import { jsonLine, type SimulatedTransaction } from '../../simulator/transaction.ts';
import { clockAt } from '../support/clock.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { runWeir } from '../support/weir-process.ts';

let service: KafkaService;
let kafka: TestKafka;

beforeAll(async () => {
  service = await startKafka();
  kafka = testKafka(service.brokers);
}, 240_000);

afterAll(async () => {
  await kafka?.close();
  await service?.stop();
});

/** Ten milliseconds pass between any two looks at it. */
function steppingClock(): Clock {
  let time = 1_800_000_000_000;
  const step = () => (time += 10);
  return clockAt(step);
}

const stream = (simulation: SimulationOptions) => ({ events: simulateTransactions(simulation), jsonLine });

const options = (topic: string, more: Partial<KafkaOutputOptions>): KafkaOutputOptions => ({
  brokers: service.brokers,
  topic,
  key: 'card',
  perSecond: Number.POSITIVE_INFINITY,
  eventTime: 'simulated',
  partitions: 3,
  clock: steppingClock(),
  signal: new AbortController().signal,
  ...more,
});

describe('simulated transactions into Kafka', () => {
  it('arrive unchanged, once, in order per key, in a topic made for them', async () => {
    const sent = await sendToKafka(stream({ seed: 3, events: 4000 }), options('simulated', {}));
    expect(sent.events).toBe(4000);
    const records = await kafka.readCommitted('simulated');
    const transactions = [...simulateTransactions({ seed: 3, events: 4000 })];
    expect(new Set(records.map((record) => record.partition)).size).toBe(3);
    expect(records.map((record) => record.value).sort()).toEqual(transactions.map(jsonLine).sort());
    const lastOf = new Map<string, string>();
    for (const { key, value } of records) {
      const { id, card } = JSON.parse(value) as SimulatedTransaction;
      expect(key).toBe(card.id);
      expect(id > (lastOf.get(card.id) ?? '')).toBe(true);
      lastOf.set(card.id, id);
    }
  });

  it('carry the time of sending when live, and stop when asked to, with all that was sent acknowledged', async () => {
    const stop = new AbortController();
    function* endless() {
      let taken = 0;
      for (const transaction of simulateTransactions({ seed: 3, events: Number.POSITIVE_INFINITY, customers: 100 })) {
        if (++taken === 1234) stop.abort();
        yield transaction;
      }
    }
    const live = { eventTime: 'live', perSecond: 5000, key: 'terminal', signal: stop.signal } as const;
    const { events } = await sendToKafka({ events: endless(), jsonLine }, options('live', live));
    expect(events).toBeGreaterThanOrEqual(1234);
    const records = await kafka.readCommitted('live');
    expect(records.length).toBe(events);
    const times = records.map(({ value }) => (JSON.parse(value) as SimulatedTransaction).ts);
    expect(Math.min(...times)).toBeGreaterThan(1_800_000_000_000);
    expect(records.every(({ key, value }) => key === JSON.parse(value).terminal.id)).toBe(true);
  });

  it('are sent by the command, which says nothing but what it sent', async () => {
    const to = ['--kafka', service.brokers.join(','), '--topic', 'sent', '--partitions', '1'];
    const { code, stderr } = await runWeir(['simulate', '--seed', '3', '--events', '50', ...to]);
    expect({ code, lines: stderr.trimEnd().split('\n') }).toEqual({
      code: 0,
      lines: [expect.stringMatching(/seed 3/), expect.stringMatching(/^simulate: 50 .* to sent in/)],
    });
  });

  it('are refused for a missing topic and an unreachable broker', async () => {
    const send = (more: Partial<KafkaOutputOptions>) =>
      sendToKafka(stream({ seed: 3, events: 10 }), options('missing', { partitions: undefined, ...more }));
    await expect(send({})).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('missing does not exist'),
    });
    await expect(send({ brokers: ['127.0.0.1:1'] })).rejects.toMatchObject({ code: 'BROKER' });
  });
});
