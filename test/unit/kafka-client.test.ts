import { once } from 'node:events';
import { createRequire } from 'node:module';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import type { Message, ProducerBatch, RecordMetadata } from 'kafkajs';
import { createClient } from '../../consumers/kafka/client.ts';
import { Connection, Encoder } from '../../consumers/kafka/internals.ts';
import { repairClient } from '../../consumers/kafka/repairs.ts';
import { sendApart } from '../../consumers/kafka/send.ts';

const require = createRequire(import.meta.url);
const createSendMessages = require('kafkajs/src/producer/sendMessages.js');
const createEosManager = require('kafkajs/src/producer/eosManager/index.js');
const createRetry = require('kafkajs/src/retry/index.js');

type SendBatch = (batch: ProducerBatch) => Promise<RecordMetadata[]>;

interface ProduceRequest {
  readonly topicData: readonly { topic: string; partitions: readonly { partition: number; firstSequence: number }[] }[];
}

const logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * The client's own producer over two brokers: "fast" at broker 1, which refuses the first request, and "slow" at broker 2, which answers
 * when the first has been asked again.
 */
async function producerOverTwo(): Promise<{ sendBatch: SendBatch; taken: string[] }> {
  const taken: string[] = [];
  const repeated = Promise.withResolvers<void>();
  const leaderOf = (topic: string) => (topic === 'fast' ? 1 : 2);
  let requests = 0;
  const broker = (nodeId: number) => ({
    nodeId,
    initProducerId: async () => ({ producerId: 7, producerEpoch: 0 }),
    async produce({ topicData }: ProduceRequest) {
      if (nodeId === 1 && requests++ === 0) {
        throw Object.assign(new Error('away'), { name: 'KafkaJSConnectionClosedError', retriable: true });
      }
      if (nodeId === 1) repeated.resolve();
      else await repeated.promise;
      const topics = topicData.map(({ topic: topicName, partitions }) => {
        for (const { firstSequence } of partitions) taken.push(`${topicName} from ${firstSequence}`);
        return { topicName, partitions: partitions.map(({ partition }) => ({ partition, errorCode: 0 })) };
      });
      return { topics };
    },
  });
  const brokers = [broker(1), broker(2)];
  const cluster = {
    targetTopics: new Set(),
    isConnected: () => true,
    removeBroker() {},
    refreshMetadata: async () => {},
    refreshMetadataIfNecessary: async () => {},
    addMultipleTargetTopics: async () => {},
    findTopicPartitionMetadata: () => [{ partitionId: 0 }],
    findLeaderForPartitions: (topic: string, partitions: readonly string[]) => {
      const found = partitions.map(Number).filter((partition) => partition === 0);
      return found.length === 0 ? {} : { [leaderOf(topic)]: found };
    },
    findBroker: async ({ nodeId }: { nodeId: string }) => brokers[Number(nodeId) - 1],
    findControllerBroker: async () => brokers[0],
  };
  const eosManager = createEosManager({ logger, cluster, transactional: false });
  await eosManager.initProducerId();
  const retrier = createRetry({ initialRetryTime: 1, retries: 5 });
  const sendBatch = createSendMessages({
    logger,
    cluster,
    partitioner: ({ message: { partition = 0 } }: { message: Message }) => partition,
    eosManager,
    retrier,
  });
  return { sendBatch, taken };
}

const messages = ['slow', 'fast'].map((topic) => ({ topic, partition: 0, messages: [{ value: 'x' }] }));

describe('the Kafka client', () => {
  it('is the version whose inner parts consumers/kafka/internals.ts names', () => {
    expect(require('kafkajs/package.json').version).toBe('2.2.4');
  });

  it('would send twice what one call has for two brokers of which one fails', async () => {
    const { sendBatch, taken } = await producerOverTwo();
    await sendBatch({ topicMessages: [...messages] });
    expect(taken.filter((one) => one.startsWith('slow'))).toEqual(['slow from 0', 'slow from 1']);
  });

  it('sends once what has a call for each partition', async () => {
    const { sendBatch, taken } = await producerOverTwo();
    await sendApart({ sendBatch }, messages);
    expect(taken.toSorted()).toEqual(['fast from 0', 'slow from 0']);
  });

  it('would leave out, without a word, what is for a partition that it does not know', async () => {
    const { sendBatch, taken } = await producerOverTwo();
    const message = { topic: 'fast', partition: 5, messages: [{ value: 'x', partition: 5 }] };
    expect(await sendBatch({ topicMessages: [message] })).toEqual([]);
    expect(taken).toEqual([]);
    await expect(sendApart({ sendBatch }, [message])).rejects.toMatchObject({
      code: 'BROKER',
      message: expect.stringMatching(/did not acknowledge what was sent to fast:5/),
    });
  });

  it('goes on to the next broker where a proxy closes what it takes for one that is dead', async () => {
    const [dead, living] = [createServer((socket) => socket.destroy()), createServer()];
    const brokers = await Promise.all([dead, living].map(addressOf));
    const admin = createClient({ brokers, client_id: 'weir', tls: false, connect_timeout_ms: 1_000 }).admin();
    const connecting = admin.connect().catch(() => undefined);
    const [socket] = await once(living, 'connection');
    socket.destroy();
    for (const server of [dead, living]) server.close();
    await connecting;
  });

  it('reads answers from the beginning where a connection ended in the middle of one', async () => {
    let isFirst = true;
    const broker = createServer((socket) => {
      socket.on('data', (request) => {
        const answer = Buffer.alloc(12);
        answer.writeInt32BE(8, 0);
        // Its length, what is asked for, and the number that the answer has to have.
        answer.writeInt32BE(request.readInt32BE(8), 4);
        if (isFirst) socket.end(answer.subarray(0, 6));
        else socket.write(answer);
        isFirst = false;
      });
    });
    const [host, port] = (await addressOf(broker)).split(':');
    const address = { host, port: Number(port) };
    repairClient();
    const connection = new Connection({
      ...address,
      logger: { namespace: () => logger },
      socketFactory: ({ onConnect }: { onConnect: () => void }) => connect(address, onConnect),
      connectionTimeout: 1_000,
      requestTimeout: 500,
    });
    const ask = async () => {
      await connection.connect();
      return connection.send({
        request: { apiKey: 0, apiName: 'Any', apiVersion: 0, encode: async () => new Encoder() },
        response: { decode: async (answer: Buffer) => answer, parse: async (answer: Buffer) => answer.length },
      });
    };
    await expect(ask()).rejects.toMatchObject({ name: 'KafkaJSConnectionClosedError' });
    expect(await ask()).toBe(4);
    await connection.disconnect();
    broker.close();
  });
});

async function addressOf(server: Server): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
