import { describe, expect, it } from '@jest/globals';
import type { ProducerBatch, RecordMetadata } from 'kafkajs';
import { deadLetterLayout, eventLayout } from '../../consumers/kafka/records.ts';
import { createSender } from '../../consumers/kafka/send.ts';
import type { OutputBatch } from '../../consumers/ports.ts';

const batch: OutputBatch = {
  events: [{ key: null, id: 'input:0:1', time: '2026-01-01T00:00:00.000Z', data: Buffer.from('{}') }],
  deadLetters: [
    {
      ...{ key: null, value: Buffer.from('x'), reason: 'not-json', message: 'no JSON' },
      ...{ stream: 'input', partition: 0, offset: 2, timestamp: Number.NaN },
    },
  ],
};

function sender() {
  return createSender({
    events: { topic: 'scored', layout: eventLayout('/weir/test', 'risk'), partition: 0, partitions: 1 },
    deadLetters: { topic: 'dead', layout: deadLetterLayout, partition: 3, partitions: 4 },
    maxMessageBytes: 1_048_588,
    compression: 'none',
    brokers: ['broker:9092'],
  });
}

/** A client whose calls end when the test says so. */
function client() {
  const calls: { readonly to: string; readonly end: PromiseWithResolvers<RecordMetadata[]>; take(): void }[] = [];
  return {
    calls,
    sendBatch({ topicMessages = [] }: ProducerBatch): Promise<RecordMetadata[]> {
      const partitions = topicMessages.flatMap(({ topic, messages }) =>
        Object.keys(messages.reduce(() => ({}), {})).map((partition) => `${topic}:${partition}`),
      );
      const end = Promise.withResolvers<RecordMetadata[]>();
      const take = () =>
        end.resolve(
          partitions.map((one) => {
            const [topicName, partition] = one.split(':');
            return { topicName, partition: Number(partition), errorCode: 0 };
          }),
        );
      calls.push({ to: partitions.join(', '), end, take });
      return end.promise;
    },
  };
}

const turn = () => new Promise(setImmediate);

describe('the sender', () => {
  it('sends each partition its share by a call of its own, side by side', async () => {
    const to = client();
    const sending = sender().send(to, batch, 0);
    await turn();
    expect(to.calls.map((call) => call.to)).toEqual(['scored:0', 'dead:3']);
    for (const { take } of to.calls) take();
    await sending;
    expect(to.calls).toHaveLength(2);
  });

  it('fails when all calls have ended, by then with nothing under way, and names the cause', async () => {
    const to = client();
    let error: unknown;
    const sending = sender()
      .send(to, batch, 0)
      .catch((reason: unknown) => {
        error = reason;
      });
    await turn();
    const [events, letters] = to.calls;
    letters.end.reject(new Error('no leader'));
    await turn();
    expect(error).toBeUndefined();
    events.end.reject(Object.assign(new Error('fenced'), { type: 'PRODUCER_FENCED' }));
    await sending;
    expect(error).toMatchObject({ message: 'fenced' });
  });
});
