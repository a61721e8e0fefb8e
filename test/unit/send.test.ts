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

/** A client that acknowledges, call by call, only so much of what it is given. */
function client(acknowledged: readonly RecordMetadata[][]) {
  const sent: string[][] = [];
  return {
    sent,
    async sendBatch({ topicMessages = [] }: ProducerBatch): Promise<RecordMetadata[]> {
      sent.push(topicMessages.map(({ topic }) => topic));
      return acknowledged[sent.length - 1];
    },
  };
}

const scored = { topicName: 'scored', partition: 0, errorCode: 0 };
const dead = { topicName: 'dead', partition: 3, errorCode: 0 };

describe('the sender', () => {
  it('sends once what is acknowledged', async () => {
    const to = client([[scored, dead]]);
    await sender().send(to, batch, 0);
    expect(to.sent).toEqual([['scored', 'dead']]);
  });

  it('sends again what the client left out without a word, and only that', async () => {
    const to = client([[scored], [dead]]);
    await sender().send(to, batch, 0);
    expect(to.sent).toEqual([['scored', 'dead'], ['dead']]);
  });

  it('gives up when nothing is acknowledged any more, and names what is missing', async () => {
    const to = client([[scored], []]);
    await expect(sender().send(to, batch, 0)).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/dead:3/),
    });
    expect(to.sent).toHaveLength(2);
  });
});
