import { DescribeStreamSummaryCommand, PutRecordCommand, RegisterStreamConsumerCommand } from '@aws-sdk/client-kinesis';
import { afterAll, beforeAll } from '@jest/globals';
import { kinesisSourceConfig } from '../../consumers/kinesis/config.ts';
import { createKinesisSource } from '../../consumers/kinesis/source.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { systemClock } from '../../runtime/clock.ts';
import { describeSourceContract, type SourceHarness, type SourceRecord } from '../contract/source.ts';
import { type TestKinesis, testKinesis } from '../support/kinesis.ts';

let services: AwsService[];
let kinesis: TestKinesis;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  services = await Promise.all([startKinesis(), startDynamo()]);
  kinesis = testKinesis(services[0].url);
});
afterAll(async () => {
  kinesis.close();
  await Promise.all(services.map((service) => service.stop()));
});

let streams = 0;

/** @param fan_out as in the source's settings; undefined: shards are polled. */
function harness(fan_out?: object): SourceHarness {
  return {
    hasKeys: true,
    keepsCheckpoint: true,
    async create(records) {
      const stream = `transactions-${process.pid}-${streams++}`;
      await kinesis.createStream(stream, 1);
      if (fan_out !== undefined) await register(stream, stream);
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
              checkpoint_interval_ms: 0,
              fan_out,
            }),
            { maxEvents, format: { type: 'json' }, clock: systemClock },
          ),
        append: (more) => put(stream, more),
        remove: () => kinesis.deleteStream(stream),
      };
    },
  };
}

describeSourceContract('kinesis, polled,', harness());
describeSourceContract('kinesis, pushed,', harness({}));

/** As weir does, whose application has the stream's name. It would wait a second for it. */
async function register(StreamName: string, ConsumerName: string): Promise<void> {
  const summary = await kinesis.client.send(new DescribeStreamSummaryCommand({ StreamName }));
  const { StreamARN } = summary.StreamDescriptionSummary!;
  await kinesis.client.send(new RegisterStreamConsumerCommand({ StreamARN, ConsumerName }));
}

async function put(StreamName: string, records: readonly SourceRecord[]): Promise<void> {
  // One after the other: the order of a PutRecords request is not promised.
  for (const { key, value } of records) {
    await kinesis.client.send(new PutRecordCommand({ StreamName, PartitionKey: key!, Data: Buffer.from(value) }));
  }
}
