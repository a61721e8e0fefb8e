import {
  CreateStreamCommand,
  DeleteStreamCommand,
  type KinesisClient,
  PutRecordCommand,
  waitUntilStreamExists,
} from '@aws-sdk/client-kinesis';
import { afterAll, beforeAll } from '@jest/globals';
import { kinesisClient } from '../../consumers/kinesis/aws.ts';
import { kinesisSourceConfig } from '../../consumers/kinesis/config.ts';
import { createKinesisSource } from '../../consumers/kinesis/source.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { systemClock } from '../../runtime/clock.ts';
import { describeSourceContract, type SourceRecord } from '../contract/source.ts';

let services: AwsService[];
let kinesis: KinesisClient;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  services = await Promise.all([startKinesis(), startDynamo()]);
  kinesis = kinesisClient({ endpoint: services[0].url }, 60_000);
});
afterAll(async () => {
  kinesis.destroy();
  await Promise.all(services.map((service) => service.stop()));
});

let streams = 0;

describeSourceContract('kinesis', {
  hasKeys: true,
  keepsCheckpoint: true,
  async create(records) {
    const stream = `transactions-${process.pid}-${streams++}`;
    await kinesis.send(new CreateStreamCommand({ StreamName: stream, ShardCount: 1 }));
    await waitUntilStreamExists({ client: kinesis, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }, { StreamName: stream });
    await put(stream, records);
    return {
      open: ({ maxEvents }) =>
        createKinesisSource(
          kinesisSourceConfig.parse({
            stream,
            application: stream,
            endpoint: services[0].url,
            dynamodb_endpoint: services[1].url,
            poll_interval_ms: 200,
          }),
          { maxEvents, format: { type: 'json' }, clock: systemClock },
        ),
      append: (more) => put(stream, more),
      remove: async () => void (await kinesis.send(new DeleteStreamCommand({ StreamName: stream }))),
    };
  },
});

async function put(StreamName: string, records: readonly SourceRecord[]): Promise<void> {
  // One after the other: the order of a PutRecords request is not promised.
  for (const { key, value } of records) {
    await kinesis.send(new PutRecordCommand({ StreamName, PartitionKey: key!, Data: Buffer.from(value) }));
  }
}
